import type { Queryable } from './connect.ts';
import { nameStatement } from './statement.ts';

/** Milliseconds since the epoch by a clock that never steps backwards within this process. */
export function readMonotonicMs(): number {
  return performance.timeOrigin + performance.now();
}

// Two quartz clocks drift apart by less than this; it widens the bounds between two observations.
const DRIFT_MAX = 200e-6;

/**
 * What the database's clock says, known from this process without asking.
 *
 * Each answer that carries the server's time proves that the offset between both clocks lies within
 * `[server − received, server − sent]` (Cristian 1989). The intersection of all such intervals, widened by the
 * greatest drift, is what is known; when a new interval does not meet it, one of the clocks was set, and the
 * new interval replaces everything.
 */
export class DatabaseClock {
  #low = Number.NEGATIVE_INFINITY;
  #high = Number.POSITIVE_INFINITY;
  #observedAt = 0;
  #steps = 0;

  /** `sentAt` and `receivedAt` by `readMonotonicMs`, `serverAt` by the server's `clock_timestamp()`, all in ms. */
  observe(sentAt: number, serverAt: number, receivedAt: number): void {
    const widening = (receivedAt - this.#observedAt) * DRIFT_MAX;
    const low = serverAt - receivedAt;
    const high = serverAt - sentAt;
    const knownLow = this.#low - widening;
    const knownHigh = this.#high + widening;
    if (low > knownHigh || high < knownLow) {
      this.#steps += 1;
      this.#low = low;
      this.#high = high;
    } else {
      this.#low = Math.max(low, knownLow);
      this.#high = Math.min(high, knownHigh);
    }
    this.#observedAt = receivedAt;
  }

  get isKnown(): boolean {
    return this.#observedAt > 0;
  }

  /** Database time minus this host's wall clock (ms): what an operator compares with zero. */
  get hostOffsetMs(): number {
    return this.now() - Date.now();
  }

  /** Half the width of what is known (ms). */
  get errorMs(): number {
    return (this.#high - this.#low) / 2;
  }

  /** How often one of the two clocks was seen to be set. */
  get steps(): number {
    return this.#steps;
  }

  /** The best estimate of the database's time (epoch ms, fractional). Before any observation: the host's. */
  now(): number {
    return this.isKnown ? readMonotonicMs() + (this.#low + this.#high) / 2 : Date.now();
  }

  /** A time that the database's clock has certainly reached (epoch ms, fractional). */
  nowAtLeast(): number {
    if (!this.isKnown) return Number.NEGATIVE_INFINITY;
    const at = readMonotonicMs();
    return at + this.#low - (at - this.#observedAt) * DRIFT_MAX;
  }
}

const selectClock = nameStatement<{ server_at: number }>(
  'read_clock',
  `SELECT date_part('epoch', clock_timestamp()) * 1000 AS server_at`,
);

/** Asks the server for its time and tells `clock`. Rejects when the database can not be reached. */
export async function synchronizeClock(database: Queryable, clock: DatabaseClock): Promise<void> {
  const sentAt = readMonotonicMs();
  const [row] = await selectClock(database, []);
  clock.observe(sentAt, row!.server_at, readMonotonicMs());
}
