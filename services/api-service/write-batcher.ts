import { classifyDatabaseError } from './database-faults.ts';
import { createOverloaded } from './problem.ts';

interface Waiting<Item, Result> {
  item: Item;
  resolve: (result: Result) => void;
  reject: (error: unknown) => void;
}

export interface WriteBatcherOptions<Item, Result> {
  /** Writes the items in one transaction and answers in their order. Rejects when none of them was written. */
  store: (items: readonly Item[]) => Promise<Result[]>;
  /** How long the first item of a batch waits for others (ms). Below a millisecond: until the event loop's next turn. */
  windowMs: number;
  /** Items of one transaction. */
  batchItemsMax: number;
  /** Transactions under way at once. */
  batchesMax: number;
  /** Items that may wait for a transaction. */
  queueMax: number;
  /** Told of each transaction's number of items, and of each item that was refused for want of room. */
  onBatch?: (items: number) => void;
  onRefuse?: () => void;
}

/**
 * Writes what arrives at about the same time in one transaction: a commit costs the same for one row as for many.
 * While as many transactions as allowed are under way the next batch collects, so batches grow with the load by
 * themselves. When Postgres refuses the data of a batch, each of its items is written by itself, so that only the
 * refused one fails. Killed between steps it leaves nothing but rows that nobody was told of.
 */
export class WriteBatcher<Item, Result> {
  readonly #options: WriteBatcherOptions<Item, Result>;
  #waiting: Waiting<Item, Result>[] = [];
  #batchesUnderWay = 0;
  #isWindowOpen = false;
  readonly #flushing: (() => void)[] = [];

  constructor(options: WriteBatcherOptions<Item, Result>) {
    this.#options = options;
  }

  /** Items that wait for their transaction to begin. */
  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** Resolves when the item is committed; rejects with 503 `overloaded` at once when too many wait. */
  write(item: Item): Promise<Result> {
    if (this.#waiting.length >= this.#options.queueMax) {
      this.#options.onRefuse?.();
      return Promise.reject(createOverloaded('Too many requests wait to be stored; send it again later.'));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      this.#openWindow();
    });
  }

  /** Resolves when nothing waits and no transaction is under way. */
  async flush(): Promise<void> {
    if (this.isIdle) return;
    await new Promise<void>((resolve) => {
      this.#flushing.push(resolve);
      this.#beginBatches();
    });
  }

  /** Whether nothing waits and no transaction is under way. */
  get isIdle(): boolean {
    return this.#waiting.length === 0 && this.#batchesUnderWay === 0;
  }

  #openWindow(): void {
    // A full batch gains nothing by waiting, and while all transactions are busy their end is the next occasion.
    if (this.#waiting.length >= this.#options.batchItemsMax) {
      this.#beginBatches();
      return;
    }
    if (this.#isWindowOpen || this.#batchesUnderWay >= this.#options.batchesMax) return;
    this.#isWindowOpen = true;
    const close = () => {
      this.#isWindowOpen = false;
      this.#beginBatches();
    };
    if (this.#options.windowMs < 1) setImmediate(close);
    else setTimeout(close, this.#options.windowMs);
  }

  #beginBatches(): void {
    while (this.#waiting.length > 0 && this.#batchesUnderWay < this.#options.batchesMax) {
      const batch = this.#waiting.splice(0, this.#options.batchItemsMax);
      this.#batchesUnderWay += 1;
      void this.#store(batch).finally(() => {
        this.#batchesUnderWay -= 1;
        // Whatever came in meanwhile has waited long enough.
        this.#beginBatches();
        if (this.isIdle) for (const resolve of this.#flushing.splice(0)) resolve();
      });
    }
  }

  /** Settles every item of the batch; never rejects. */
  async #store(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    this.#options.onBatch?.(batch.length);
    let results: Result[];
    try {
      results = await this.#options.store(batch.map((waiting) => waiting.item));
    } catch (error) {
      if (batch.length > 1 && classifyDatabaseError(error) === 'data') {
        // One after another: which one is refused is the matter of a defect, not of load.
        for (const waiting of batch) await this.#store([waiting]);
      } else {
        for (const waiting of batch) waiting.reject(error);
      }
      return;
    }
    for (const [index, waiting] of batch.entries()) waiting.resolve(results[index]!);
  }
}
