import { createRandom } from '../random.ts';

/** What is called: Postgres, or Redis. A queue that lives in Postgres is called by Postgres' client. */
export type Called = 'database' | 'redis';

/**
 * What can happen to a call. `cutBefore`: the connection breaks before the server has got it. `refused`: the server says
 * that it can not do it now. `cutAfter`: the server has done it, and the connection breaks before the answer is read.
 * `late`: the answer takes its time.
 */
export type FaultKind = 'cutBefore' | 'refused' | 'cutAfter' | 'late';

export const FAULT_KINDS: readonly FaultKind[] = ['cutBefore', 'refused', 'cutAfter', 'late'];

/** Longest delay of a late answer (ms): slower than any statement should be, and well within all time limits. */
const LATE_MS_MAX = 200;

/** Decides, call by call, what is to go wrong. The same seed decides alike. */
export class FaultPlan {
  readonly #rate: number;
  readonly #random: () => number;

  constructor(rate: number, seed: number) {
    this.#rate = rate;
    this.#random = createRandom(seed);
  }

  /** The fault of the next call; undefined: it goes well. */
  choose(): FaultKind | undefined {
    return this.#random() < this.#rate ? this.pick(FAULT_KINDS) : undefined;
  }

  /** One of several, each as likely as the others. */
  pick<Item>(items: readonly Item[]): Item {
    return items[Math.floor(this.#random() * items.length)]!;
  }

  /** How late a late answer is (ms). */
  chooseDelayMs(): number {
    return Math.ceil(this.#random() * LATE_MS_MAX);
  }
}
