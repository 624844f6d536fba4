import { Batcher } from '@punctual/runtime';
import { classifyDatabaseError } from './database-faults.ts';
import { createOverloaded } from './problem.ts';

interface Waiting<Item, Result> {
  item: Item;
  /** Monotonic ms. */
  addedAt: number;
  resolve: (result: Result) => void;
  reject: (error: unknown) => void;
}

export interface WriteBatcherOptions<Item, Result> {
  /** Writes the items in one transaction and answers in their order. Rejects when none of them was written. */
  store: (items: readonly Item[]) => Promise<Result[]>;
  /** How long the first item of a batch waits for others (ms); 0: not at all. */
  windowMs: number;
  /** Items of one transaction. */
  batchItemsMax: number;
  /** Transactions under way at once. */
  batchesMax: number;
  /** Items that may wait for a transaction. */
  queueMax: number;
  /** How long an item waits for its transaction to begin (ms); then it is refused. */
  waitMsMax: number;
  /** Told of each transaction's number of items, and of each item that was refused for want of room or time. */
  onBatch?: (items: number) => void;
  onRefuse?: () => void;
}

/** So many items wait for no others: they share the cost of the commit well enough, and Postgres would stand idle. */
const ITEMS_ENOUGH = 32;

/**
 * Writes what arrives at about the same time in one transaction: a commit costs the same for one row as for many. When
 * Postgres refuses the data of a batch, each of its items is written by itself, so that only the refused one fails.
 * Killed between steps it leaves nothing but rows that nobody was told of.
 */
export class WriteBatcher<Item, Result> {
  readonly #options: WriteBatcherOptions<Item, Result>;
  readonly #batcher: Batcher<Waiting<Item, Result>>;

  constructor(options: WriteBatcherOptions<Item, Result>) {
    this.#options = options;
    this.#batcher = new Batcher({
      run: (batch) => this.#store(batch),
      windowMs: options.windowMs,
      weigh: () => 1,
      weightEnough: Math.min(ITEMS_ENOUGH, options.batchItemsMax),
      weightMax: options.batchItemsMax,
      quickMax: options.batchesMax,
      batchesMax: options.batchesMax,
    });
  }

  /** Items that wait for their transaction to begin. */
  get waitingCount(): number {
    return this.#batcher.waitingCount;
  }

  /** Whether nothing waits and no transaction is under way. */
  get isIdle(): boolean {
    return this.#batcher.isIdle;
  }

  /** Resolves when the item is committed; rejects with 503 `overloaded` at once when too many wait, or when it waited too long. */
  write(item: Item): Promise<Result> {
    if (this.waitingCount >= this.#options.queueMax) {
      this.#options.onRefuse?.();
      return Promise.reject(createOverloaded('Too many requests wait to be stored; send it again later.'));
    }
    return new Promise((resolve, reject) => this.#batcher.add({ item, addedAt: performance.now(), resolve, reject }));
  }

  /** Resolves when nothing waits and no transaction is under way. */
  flush(): Promise<void> {
    return this.#batcher.flush();
  }

  /** Settles every item of the batch; never rejects. */
  async #store(all: readonly Waiting<Item, Result>[]): Promise<void> {
    const batch = this.#refuseLate(all);
    if (batch.length === 0) return;
    this.#options.onBatch?.(batch.length);
    let results: Result[];
    try {
      // failpoint: api.storing
      results = await this.#options.store(batch.map((waiting) => waiting.item));
      // failpoint: api.stored
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

  // Whoever waited so long was told so and will send again: to write that, too, would keep those who still wait.
  #refuseLate(batch: readonly Waiting<Item, Result>[]): readonly Waiting<Item, Result>[] {
    const lateAt = performance.now() - this.#options.waitMsMax;
    // They stand in the order in which they came.
    if (batch[0]!.addedAt > lateAt) return batch;
    return batch.filter((waiting) => {
      if (waiting.addedAt > lateAt) return true;
      this.#options.onRefuse?.();
      waiting.reject(createOverloaded('It waited too long to be stored; send it again later.'));
      return false;
    });
  }
}
