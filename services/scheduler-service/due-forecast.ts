import { countDueSoon, type Database } from '@punctual/database';
import { type Logger, LoopedRole } from '@punctual/runtime';
import type { SchedulerMetrics } from './metrics.ts';

export interface DueForecastOptions {
  database: Pick<Database, 'hot'>;
  /** Asked before each look. */
  listOwned: () => number[];
  /** Timers that one look should pass (`ROWS_WISHED`), and passes at most (`ROWS_MAX`). */
  rowsWished?: number;
  rowsMax?: number;
  metrics: Pick<SchedulerMetrics, 'timersDueSoon'>;
  logger: Logger;
}

/** How far ahead it looks: longer than a new worker takes to get a machine, an image and its connections. */
export const FORECAST_MINUTES = 5;
/** Between two looks (ms): some of them in the time that an autoscaler takes between two of its own. */
const INTERVAL_MS = 10_000;
/** While no partition is owned, which is so for an instant after the start (ms). */
const UNOWNED_INTERVAL_MS = 1_000;
const ERROR_PAUSE_MS = 10_000;
/**
 * One look takes as many partitions as hold about ROWS_WISHED such timers together, so that few timers are counted exactly
 * and many cost some milliseconds. ROWS_MAX bounds the look that meets a herd unprepared; the next takes fewer partitions.
 */
const ROWS_WISHED = 20_000;
const ROWS_MAX = 200_000;

/**
 * Tells how many timers come due in each of the next minutes in the partitions owned, for whoever starts workers before they
 * are needed. Timers are spread over the partitions by a hash, so where there are many, some partitions stand for all, others
 * at each look. It never writes; killed, it leaves nothing.
 */
export class DueForecast extends LoopedRole {
  readonly #options: DueForecastOptions;
  /** Partitions that the next look takes, and the last one that was taken. */
  #share = Number.POSITIVE_INFINITY;
  #last = -1;

  constructor(options: DueForecastOptions) {
    super({
      name: 'due-forecast',
      errorPauseMs: ERROR_PAUSE_MS,
      complaint: 'could not count what comes due soon; trying again',
      logger: options.logger,
    });
    this.#options = options;
  }

  protected override choosePauseMs(): number {
    return this.#last < 0 ? UNOWNED_INTERVAL_MS : INTERVAL_MS;
  }

  /** Counts in some of the partitions, and tells what that means for all of them. */
  async runOnce(): Promise<void> {
    const { database, listOwned, rowsWished = ROWS_WISHED, rowsMax = ROWS_MAX, metrics } = this.#options;
    const owned = listOwned();
    const looked = this.#chooseNext(owned);
    const counts =
      looked.length === 0
        ? Array.from({ length: FORECAST_MINUTES }, () => 0)
        : await countDueSoon(database.hot, looked, FORECAST_MINUTES, Math.ceil(rowsMax / looked.length));
    const scale = looked.length === 0 ? 1 : owned.length / looked.length;
    counts.forEach((count, index) => {
      metrics.timersDueSoon.set({ minute: String(index + 1) }, Math.round(count * scale));
    });
    const perPartition = counts.reduce((sum, count) => sum + count, 0) / Math.max(1, looked.length);
    this.#share = perPartition === 0 ? Number.POSITIVE_INFINITY : Math.max(1, Math.floor(rowsWished / perPartition));
  }

  #chooseNext(owned: readonly number[]): number[] {
    const sorted = owned.toSorted((a, b) => a - b);
    const next = sorted.findIndex((partition) => partition > this.#last);
    const inTurn = [...sorted.slice(Math.max(0, next)), ...sorted.slice(0, Math.max(0, next))];
    const looked = inTurn.slice(0, Math.min(this.#share, inTurn.length));
    this.#last = looked.at(-1) ?? -1;
    return looked;
  }
}
