import {
  type Database,
  endRunReview,
  isDatabaseUnavailable,
  mendRun,
  type ReviewCursor,
  readMonotonicMs,
  readStuckRunIds,
  type WorkflowVersions,
} from '@punctual/database';
import { type Logger, Loop, limitRate, OUTAGE_LOG_INTERVAL_MS, type Role } from '@punctual/runtime';
import type { SchedulerMetrics } from './metrics.ts';

export interface RunReviewerOptions {
  database: Database;
  versions: WorkflowVersions;
  /** Whether this scheduler is the one that reviews; two that do are harmless. */
  isLeading: () => boolean;
  intervalMs: number;
  metrics: Pick<SchedulerMetrics, 'runsReviewed' | 'runsMended' | 'runsUnmendable'>;
  logger: Logger;
}

/**
 * The most of the time that a review may take, so that a million sleeping runs are looked at without being felt. A page of a
 * thousand takes some milliseconds.
 */
const TIME_SHARE = 0.02;
/** Between two questions whether this scheduler leads by now (ms). */
const LEAD_CHECK_MS = 1_000;
const ERROR_PAUSE_MS = 10_000;
/** Runs that one turn mends; the others of its page are found by the next review. */
const MENDED_PER_TURN_MAX = 100;

/**
 * Finds runs that can no longer move: under way, with nothing live. No transaction of ours leaves one behind; a defect, a
 * restore or a hand in the database may. It looks at all running runs, page by page, without locking any, and mends those
 * that it finds, each in a transaction of its own that asks again under the run's lock. What it can not understand it
 * leaves, tells of in the log, and finds again at each review. The scheduler that owns the first partition does it; it
 * keeps where it stands in memory, so another begins from the oldest run on.
 */
export class RunReviewer implements Role {
  readonly #options: RunReviewerOptions;
  readonly #loop: Loop;
  #cursor: ReviewCursor | undefined;
  #notBefore = Number.NEGATIVE_INFINITY;
  #beganAt = Number.NEGATIVE_INFINITY;
  #reviewed = 0;
  #unmendable = 0;

  constructor(options: RunReviewerOptions) {
    this.#options = options;
    this.#loop = new Loop({
      name: 'run-reviewer',
      run: () => this.runOnce(),
      pauseMs: () => (options.isLeading() ? Math.max(0, this.#notBefore - readMonotonicMs()) : LEAD_CHECK_MS),
      errorPauseMs: ERROR_PAUSE_MS,
      onError: limitRate(
        (error: unknown) => options.logger.warn({ err: error }, 'could not review the runs; trying again'),
        OUTAGE_LOG_INTERVAL_MS,
      ),
    });
  }

  get loop(): Loop {
    return this.#loop;
  }

  start(): void {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  /** Looks at one page of runs. */
  async runOnce(): Promise<void> {
    const { database, isLeading, intervalMs, metrics } = this.#options;
    if (!isLeading()) {
      this.#cursor = undefined;
      this.#notBefore = Number.NEGATIVE_INFINITY;
      return;
    }
    const beganAt = readMonotonicMs();
    if (this.#cursor === undefined) {
      this.#beganAt = beganAt;
      this.#reviewed = 0;
      this.#unmendable = 0;
    }
    const { reviewed, stuck, next } = await readStuckRunIds(database.ordinary, this.#cursor);
    this.#reviewed += reviewed;
    metrics.runsReviewed.inc(reviewed);
    for (const runId of stuck.slice(0, MENDED_PER_TURN_MAX)) await this.#mend(runId);
    this.#cursor = next;
    const endedAt = readMonotonicMs();
    if (next === undefined) {
      metrics.runsUnmendable.set(this.#unmendable);
      await endRunReview(database.ordinary, this.#reviewed, this.#unmendable);
      this.#notBefore = this.#beganAt + intervalMs;
    } else {
      this.#notBefore = endedAt + (endedAt - beganAt) * (1 / TIME_SHARE - 1);
    }
  }

  async #mend(runId: string): Promise<void> {
    const { database, versions, metrics, logger } = this.#options;
    try {
      const mended = await mendRun(database.ordinary, versions, runId);
      if (mended === undefined) return;
      metrics.runsMended.inc();
      logger.warn({ runId, ...mended }, 'mended a run that was stuck: it was under way, and nothing of it was live');
    } catch (error) {
      if (isDatabaseUnavailable(error)) throw error;
      this.#unmendable += 1;
      logger.error({ err: error, runId }, 'a run is stuck and can not be mended');
    }
  }
}
