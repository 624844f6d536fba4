export interface BatcherOptions<Item> {
  /** Does the work for the items together, by one statement or several; must not reject. */
  run: (items: readonly Item[]) => Promise<void>;
  /**
   * How long the first item of a batch waits for others at most (ms): half as long when none has come in the quarter before,
   * not at all when the batch before had a single item and was alone. Who comes when nobody else does has nobody to wait for.
   */
  windowMs: number;
  /** What an item counts toward `weightMax`; one that is heavier goes alone. */
  weigh: (item: Item) => number;
  /** Items of so much weight wait for no others; absent: `weightMax`. */
  weightEnough?: number;
  /** Weight of one batch. */
  weightMax: number;
  /** Batches under way at once that are not slow, and all of them. */
  quickMax: number;
  batchesMax: number;
}

/** A batch under way for longer keeps none of the quick ones from beginning (ms): it waits for a lock, or Postgres is away. */
const SLOW_AFTER_MS = 100;

/**
 * Gathers what arrives while earlier batches are under way, so that statements grow with the load by themselves: a
 * statement costs Node and Postgres as much as ten to twenty rows, whatever it carries.
 */
export class Batcher<Item> {
  readonly #options: BatcherOptions<Item>;
  #waiting: Item[] = [];
  #weight = 0;
  /** Whether the last batch had a single item, and none was under way beside it. */
  #isLonely = false;
  /** When the last item came (monotonic ms). */
  #addedAt = 0;
  #quick = 0;
  #window: NodeJS.Timeout | undefined;
  /** The window has passed while no batch could begin. */
  #isDue = false;
  readonly #underWay = new Set<Promise<void>>();

  constructor(options: BatcherOptions<Item>) {
    this.#options = options;
  }

  /** Items that wait for their batch to begin. */
  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** Whether nothing waits and no batch is under way. */
  get isIdle(): boolean {
    return this.#waiting.length === 0 && this.#underWay.size === 0;
  }

  add(...items: Item[]): void {
    const { weigh, windowMs } = this.#options;
    for (const item of items) {
      this.#waiting.push(item);
      this.#weight += weigh(item);
    }
    this.#addedAt = performance.now();
    if (windowMs === 0 || this.#isLonely || this.#isEnough) this.#begin();
    else if (!this.#isDue) this.#window ??= setTimeout(() => this.#beginUnlessMoreCome(), windowMs / 2);
  }

  /** Resolves when everything added so far, and what is added meanwhile, has run. */
  async flush(): Promise<void> {
    while (!this.isIdle) {
      this.#begin();
      await Promise.race(this.#underWay);
    }
  }

  get #isEnough(): boolean {
    const { weightEnough, weightMax } = this.#options;
    return this.#weight >= (weightEnough ?? weightMax);
  }

  // A few clients that each wait for their answer have all come by now; those of a stream go on coming.
  #beginUnlessMoreCome(): void {
    const { windowMs } = this.#options;
    if (performance.now() - this.#addedAt > windowMs / 4) this.#begin();
    else this.#window = setTimeout(() => this.#begin(), windowMs / 2);
  }

  #begin(): void {
    clearTimeout(this.#window);
    this.#window = undefined;
    const { quickMax, batchesMax } = this.#options;
    while (this.#waiting.length > 0 && this.#quick < quickMax && this.#underWay.size < batchesMax) this.#runBatch();
    this.#isDue = this.#waiting.length > 0;
  }

  #runBatch(): void {
    const items = this.#takeBatch();
    this.#isLonely = items.length === 1 && this.#underWay.size === 0;
    this.#quick += 1;
    let isQuick = true;
    const leaveQuick = () => {
      if (isQuick) this.#quick -= 1;
      isQuick = false;
      if (this.#isDue || this.#isEnough) this.#begin();
    };
    const slow = setTimeout(leaveQuick, SLOW_AFTER_MS);
    const batch: Promise<void> = this.#options.run(items).finally(() => {
      clearTimeout(slow);
      this.#underWay.delete(batch);
      leaveQuick();
    });
    this.#underWay.add(batch);
  }

  #takeBatch(): Item[] {
    const { weigh, weightMax } = this.#options;
    let count = 0;
    let weight = 0;
    for (const item of this.#waiting) {
      if (count > 0 && weight + weigh(item) > weightMax) break;
      weight += weigh(item);
      count += 1;
    }
    this.#weight -= weight;
    return this.#waiting.splice(0, count);
  }
}
