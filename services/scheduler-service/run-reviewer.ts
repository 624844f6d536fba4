import {
  type Database,
  endRunReview,
  isDatabaseUnavailable,
  mendRun,
  type ReviewCursor,
  readStuckRunIds,
  type WorkflowVersions,
} from '@punctual/database';
import type { Logger } from '@punctual/runtime';
import type { SchedulerMetrics } from './metrics.ts';
import { PacedWalk } from './paced-walk.ts';

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
const ERROR_PAUSE_MS = 10_000;
/** Runs that one step mends. */
const MENDED_PER_STEP_MAX = 100;

/**
 * Finds runs that can no longer move: under way, with nothing live. No transaction of ours leaves one behind; a defect, a
 * restore or a hand in the database may. It looks at all running runs, page by page, without locking any, and mends those
 * that it finds, each in a transaction of its own that asks again under the run's lock. What it can not understand it
 * leaves, tells of in the log, and finds again at each review. The scheduler that owns the first partition does it.
 */
export class RunReviewer extends PacedWalk {
  readonly #options: RunReviewerOptions;

  constructor(options: RunReviewerOptions) {
    super({
      name: 'run-reviewer',
      errorPauseMs: ERROR_PAUSE_MS,
      complaint: 'could not review the runs; trying again',
      logger: options.logger,
      isLeading: options.isLeading,
      intervalMs: options.intervalMs,
      timeShare: TIME_SHARE,
    });
    this.#options = options;
  }

  protected override async *walk(): AsyncGenerator<void, void, void> {
    const { database, metrics } = this.#options;
    let cursor: ReviewCursor | undefined;
    let reviewed = 0;
    let unmendable = 0;
    do {
      const page = await readStuckRunIds(database.ordinary, cursor);
      reviewed += page.reviewed;
      metrics.runsReviewed.inc(page.reviewed);
      for (const [index, runId] of page.stuck.entries()) {
        if (index > 0 && index % MENDED_PER_STEP_MAX === 0) yield;
        if (!(await this.#mend(runId))) unmendable += 1;
      }
      cursor = page.next;
      yield;
    } while (cursor !== undefined);
    metrics.runsUnmendable.set(unmendable);
    await endRunReview(database.ordinary, reviewed, unmendable);
  }

  /** False where it can not be mended. */
  async #mend(runId: string): Promise<boolean> {
    const { database, versions, metrics, logger } = this.#options;
    try {
      const mended = await mendRun(database.ordinary, versions, runId);
      if (mended === undefined) return true;
      metrics.runsMended.inc();
      logger.warn({ runId, ...mended }, 'mended a run that was stuck: it was under way, and nothing of it was live');
      return true;
    } catch (error) {
      if (isDatabaseUnavailable(error)) throw error;
      logger.error({ err: error, runId }, 'a run is stuck and can not be mended');
      return false;
    }
  }
}
