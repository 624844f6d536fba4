import {
  type Database,
  type Keeper,
  listKeepingTenants,
  listKeepingWorkflows,
  OPERATIONS_REMOVED_MAX,
  type RunCursor,
  readLongestRetention,
  readMonotonicMs,
  removePastOperations,
  removePastRuns,
  removePastTimersOf,
  TIMERS_REMOVED_MAX,
} from '@punctual/database';
import { type Logger, Loop, limitRate, OUTAGE_LOG_INTERVAL_MS, type Role } from '@punctual/runtime';
import type { SchedulerMetrics } from './metrics.ts';

export interface RetentionKeeperOptions {
  database: Database;
  /** Whether this scheduler is the one that removes; two that do are harmless. */
  isLeading: () => boolean;
  /** Of the installation: for whom neither the workflow nor the tenant says otherwise. */
  retentionDays: number;
  intervalMs: number;
  metrics: Pick<SchedulerMetrics, 'retentionRemoved' | 'retentionWalkedAt'>;
  logger: Logger;
}

/** The most of the time that removing may take. */
const TIME_SHARE = 0.05;
/** Between two questions whether this scheduler leads by now (ms). */
const LEAD_CHECK_MS = 1_000;
const ERROR_PAUSE_MS = 10_000;
const FIRST_ID = '00000000-0000-0000-0000-000000000000';

/**
 * Removes what is past its retention and does not leave with a day of the history: runs with their outputs, of workflows and
 * tenants that keep less than the days are kept for also finished timers and attempts, and bulk operations with their
 * failures. Each step is bounded and a transaction of its own; killed between two of them, the next walk goes on with what
 * is left. The scheduler that owns the first partition does it. What is live is never looked at but by its run's row.
 */
export class RetentionKeeper implements Role {
  readonly #options: RetentionKeeperOptions;
  readonly #loop: Loop;
  #walk: AsyncGenerator<void, void, void> | undefined;
  #beganAt = Number.NEGATIVE_INFINITY;
  #notBefore = Number.NEGATIVE_INFINITY;

  constructor(options: RetentionKeeperOptions) {
    this.#options = options;
    this.#loop = new Loop({
      name: 'retention-keeper',
      run: () => this.runOnce(),
      pauseMs: () => (options.isLeading() ? Math.max(0, this.#notBefore - readMonotonicMs()) : LEAD_CHECK_MS),
      errorPauseMs: ERROR_PAUSE_MS,
      onError: limitRate(
        (error: unknown) =>
          options.logger.warn({ err: error }, 'could not remove what is past its retention; trying again'),
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

  /** One step of a walk, or the beginning of the next one. */
  async runOnce(): Promise<void> {
    const { isLeading, intervalMs, metrics } = this.#options;
    if (!isLeading()) {
      this.#walk = undefined;
      this.#notBefore = Number.NEGATIVE_INFINITY;
      return;
    }
    const beganAt = readMonotonicMs();
    if (this.#walk === undefined) {
      this.#beganAt = beganAt;
      this.#walk = this.#removeAll();
    }
    let isOver: boolean | undefined = true;
    try {
      isOver = (await this.#walk.next()).done;
    } finally {
      // One that failed begins anew.
      if (isOver) this.#walk = undefined;
    }
    const endedAt = readMonotonicMs();
    if (isOver) metrics.retentionWalkedAt.setToCurrentTime();
    this.#notBefore = isOver ? this.#beganAt + intervalMs : endedAt + (endedAt - beganAt) * (1 / TIME_SHARE - 1);
  }

  async *#removeAll(): AsyncGenerator<void, void, void> {
    const { database, retentionDays, metrics } = this.#options;
    const longestDays = await readLongestRetention(database.ordinary, retentionDays);
    let after: string | undefined = FIRST_ID;
    while (after !== undefined) {
      const { keepers, next } = await listKeepingWorkflows(database.ordinary, after, retentionDays);
      yield;
      for (const workflow of keepers) yield* this.#removeRunsOf(workflow, workflow.days < longestDays);
      after = next;
    }
    after = FIRST_ID;
    while (after !== undefined) {
      const { keepers, next } = await listKeepingTenants(database.ordinary, after, retentionDays, longestDays);
      yield;
      for (const tenant of keepers) yield* this.#removeTimersOf(tenant);
      after = next;
    }
    for (let removed = OPERATIONS_REMOVED_MAX; removed === OPERATIONS_REMOVED_MAX; ) {
      removed = await removePastOperations(database.ordinary, retentionDays);
      metrics.retentionRemoved.inc({ kind: 'bulk_operations' }, removed);
      yield;
    }
  }

  async *#removeRunsOf(workflow: Keeper, isHistoryKept: boolean): AsyncGenerator<void, void, void> {
    let cursor: RunCursor | undefined;
    do {
      const { removed, next } = await removePastRuns(this.#options.database.ordinary, workflow, cursor, isHistoryKept);
      this.#options.metrics.retentionRemoved.inc({ kind: 'runs' }, removed);
      cursor = next;
      yield;
    } while (cursor !== undefined);
  }

  async *#removeTimersOf(tenant: Keeper): AsyncGenerator<void, void, void> {
    for (let removed = TIMERS_REMOVED_MAX; removed === TIMERS_REMOVED_MAX; ) {
      removed = await removePastTimersOf(this.#options.database.ordinary, tenant);
      this.#options.metrics.retentionRemoved.inc({ kind: 'timers' }, removed);
      yield;
    }
  }
}
