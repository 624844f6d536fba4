import { setTimeout as sleep } from 'node:timers/promises';
import { RequestError } from './client.ts';

/** The wait after the first failure in a row, and the longest (ms). */
const FIRST_MS = 200;
const LONGEST_MS = 10_000;

/** Waits longer after each failure in a row; half of each wait is left to chance, so that workers do not come back together. */
export class Backoff {
  #failures = 0;

  succeed(): void {
    this.#failures = 0;
  }

  /** Resolves when it is time to try again, at once when the signal is aborted. */
  async wait(error: unknown, signal?: AbortSignal): Promise<void> {
    const longest = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(this.#failures, 10));
    this.#failures += 1;
    const told = error instanceof RequestError ? (error.retryAfterMs ?? 0) : 0;
    const waitMs = Math.max(told, longest / 2 + (Math.random() * longest) / 2);
    await sleep(waitMs, undefined, signal && { signal }).catch(() => {});
  }
}
