import {
  type Database,
  ERASURES_PER_WALK_MAX,
  forgetErasures,
  type InstallationRetention,
  type Keeper,
  listErasures,
  listKeepingTenants,
  listKeepingWorkflows,
  OPERATIONS_REMOVED_MAX,
  overwriteAnswersAbout,
  type RunCursor,
  readLongestRetention,
  removePastLettersOf,
  removePastOperations,
  removePastRuns,
  removePastTimersOf,
  TIMERS_REMOVED_MAX,
} from '@punctual/database';
import type { Logger } from '@punctual/runtime';
import type { SchedulerMetrics } from './metrics.ts';
import { PacedWalk } from './paced-walk.ts';

export interface RetentionKeeperOptions {
  database: Database;
  /** Whether this scheduler is the one that removes; two that do are harmless. */
  isLeading: () => boolean;
  /** Of the installation: for whom neither the workflow nor the tenant says otherwise. */
  retention: InstallationRetention;
  intervalMs: number;
  metrics: Pick<SchedulerMetrics, 'retentionRemoved' | 'retentionWalkedAt'>;
  logger: Logger;
}

/** The most of the time that removing may take. */
const TIME_SHARE = 0.05;
const ERROR_PAUSE_MS = 10_000;
const FIRST_ID = '00000000-0000-0000-0000-000000000000';

/**
 * Removes what is past its retention and does not leave with a day of the history: runs with their outputs, dead letters, of
 * workflows and tenants that keep less than the days are kept for also finished timers and attempts, and bulk operations
 * with their failures; and the text of kept answers that show what was erased. Each step is bounded and a transaction of its own; killed between two of them, the next walk goes on with what
 * is left. The scheduler that owns the first partition does it. What is live is never looked at but by its run's row.
 */
export class RetentionKeeper extends PacedWalk {
  readonly #options: RetentionKeeperOptions;

  constructor(options: RetentionKeeperOptions) {
    super({
      name: 'retention-keeper',
      errorPauseMs: ERROR_PAUSE_MS,
      complaint: 'could not remove what is past its retention; trying again',
      logger: options.logger,
      isLeading: options.isLeading,
      intervalMs: options.intervalMs,
      timeShare: TIME_SHARE,
    });
    this.#options = options;
  }

  protected override async *walk(): AsyncGenerator<void, void, void> {
    const { database, retention, metrics } = this.#options;
    const longestDays = await readLongestRetention(database.ordinary, retention.days);
    let after: string | undefined = FIRST_ID;
    while (after !== undefined) {
      const { keepers, next } = await listKeepingWorkflows(database.ordinary, after, retention);
      yield;
      for (const workflow of keepers) yield* this.#removeRunsOf(workflow, workflow.days < longestDays);
      after = next;
    }
    after = FIRST_ID;
    while (after !== undefined) {
      const { keepers, next } = await listKeepingTenants(database.ordinary, after, retention, longestDays);
      yield;
      for (const tenant of keepers) {
        if (tenant.hasTimers) yield* this.#removeOf('timers', () => removePastTimersOf(database.ordinary, tenant));
        if (tenant.hasLetters)
          yield* this.#removeOf('dead_letters', () => removePastLettersOf(database.ordinary, tenant));
      }
      after = next;
    }
    for (let removed = OPERATIONS_REMOVED_MAX; removed === OPERATIONS_REMOVED_MAX; ) {
      removed = await removePastOperations(database.ordinary, retention.days);
      metrics.retentionRemoved.inc({ kind: 'bulk_operations' }, removed);
      yield;
    }
    yield* this.#overwriteAnswers();
    metrics.retentionWalkedAt.setToCurrentTime();
  }

  /** Of what was erased: nobody is given them any more, and here their text goes. */
  async *#overwriteAnswers(): AsyncGenerator<void, void, void> {
    const { ordinary } = this.#options.database;
    for (let found = ERASURES_PER_WALK_MAX; found === ERASURES_PER_WALK_MAX; ) {
      const erasures = await listErasures(ordinary);
      yield;
      for (const [tenantId, targetIds] of erasures) {
        for (let after: string | undefined = ''; after !== undefined; ) {
          const page: { erased: number; next: string | undefined } = await overwriteAnswersAbout(
            ordinary,
            tenantId,
            targetIds,
            after,
          );
          this.#options.metrics.retentionRemoved.inc({ kind: 'answers' }, page.erased);
          after = page.next;
          yield;
        }
        await forgetErasures(ordinary, tenantId, targetIds);
      }
      found = [...erasures.values()].flat().length;
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

  async *#removeOf(
    kind: 'timers' | 'dead_letters',
    removeSome: () => Promise<number>,
  ): AsyncGenerator<void, void, void> {
    for (let removed = TIMERS_REMOVED_MAX; removed === TIMERS_REMOVED_MAX; ) {
      removed = await removeSome();
      this.#options.metrics.retentionRemoved.inc({ kind }, removed);
      yield;
    }
  }
}
