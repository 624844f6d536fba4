import {
  type Database,
  type DatabaseClock,
  type ExternalIdCursor,
  foldLedger,
  inTransaction,
  keepHistoryDays,
  pruneExternalIds,
  pruneIdempotencyKeys,
  pruneSigningSecrets,
  pruneTraces,
  readMonotonicMs,
} from '@punctual/database';
import { type Logger, LoopedRole } from '@punctual/runtime';
import type { SchedulerMetrics } from './metrics.ts';

export interface PrunerOptions {
  database: Database;
  clock: DatabaseClock;
  retentionDays: number;
  /** Between two looks at the days' partitions, and at traces that are old (ms). The days stand ready a week ahead. */
  daysIntervalMs: number;
  metrics: Pick<SchedulerMetrics, 'retentionRemoved' | 'oldestHistoryDay'>;
  logger: Logger;
}

/** Between two turns (ms). Each does a bounded amount of work. */
const INTERVAL_MS = 5_000;
/**
 * The most of the time that folding the ledger may take. While an old snapshot is held a fold passes every entry that was
 * folded since: a million and a half of them after ten minutes at the steady rate.
 */
const FOLD_TIME_SHARE = 0.02;
const ERROR_PAUSE_MS = 10_000;
/** Ledger entries that one turn folds into the totals. */
const LEDGER_ENTRIES_MAX = 50_000;
/** Between the beginnings of two walks over all external ids (ms). */
const WALK_INTERVAL_MS = 600_000;
/** External ids that one turn looks at. */
const EXTERNAL_IDS_MAX = 1_000;
/** Idempotency keys that one turn forgets. */
const IDEMPOTENCY_KEYS_MAX = 10_000;
/** Traces that one turn forgets. */
const TRACES_MAX = 10_000;
/** Signing secrets that one turn destroys. A tenant has a handful, and replaces them by the month. */
const SIGNING_SECRETS_DESTROYED_MAX = 1_000;

/**
 * Keeps tables small: makes the history's days ahead and drops those past retention, folds the ledger's entries into
 * its totals, forgets old idempotency keys and external ids, destroys signing secrets whose time is over, forgets traces that
 * are past retention. Every scheduler runs one; they do not get into each other's way, and each step is a transaction of its own.
 */
export class Pruner extends LoopedRole {
  readonly #options: PrunerOptions;
  #daysKeptAt = Number.NEGATIVE_INFINITY;
  /** Whether the last turn left something that could have been done: then the next one follows at once. */
  #isBehind = false;
  #foldNotBefore = Number.NEGATIVE_INFINITY;
  #externalIds: ExternalIdCursor | undefined;
  #walkBeganAt = Number.NEGATIVE_INFINITY;
  #tracesNotBefore = Number.NEGATIVE_INFINITY;

  constructor(options: PrunerOptions) {
    super({
      name: 'pruner',
      errorPauseMs: ERROR_PAUSE_MS,
      complaint: 'could not tidy the tables; trying again',
      logger: options.logger,
    });
    this.#options = options;
  }

  protected override choosePauseMs(): number {
    return this.#isBehind ? 0 : INTERVAL_MS;
  }

  async runOnce(): Promise<void> {
    const { database } = this.#options;
    await this.#keepDays();
    const folded = await this.#fold();
    const forgotten = await pruneIdempotencyKeys(database.ordinary, IDEMPOTENCY_KEYS_MAX);
    await pruneSigningSecrets(database.ordinary, SIGNING_SECRETS_DESTROYED_MAX);
    const untraced = await this.#forgetTraces();
    const isWalking = await this.#walkExternalIds();
    this.#isBehind =
      folded === LEDGER_ENTRIES_MAX || forgotten === IDEMPOTENCY_KEYS_MAX || untraced === TRACES_MAX || isWalking;
  }

  async #fold(): Promise<number> {
    const beganAt = readMonotonicMs();
    if (beganAt < this.#foldNotBefore) return 0;
    const folded = await foldLedger(this.#options.database.ordinary, LEDGER_ENTRIES_MAX);
    const endedAt = readMonotonicMs();
    // One that moved as much as it may is followed by the next at once.
    const pauseMs = folded === LEDGER_ENTRIES_MAX ? 0 : (endedAt - beganAt) * (1 / FOLD_TIME_SHARE - 1);
    this.#foldNotBefore = endedAt + pauseMs;
    return folded;
  }

  async #forgetTraces(): Promise<number> {
    const now = readMonotonicMs();
    if (now < this.#tracesNotBefore) return 0;
    const { database, retentionDays, daysIntervalMs } = this.#options;
    const forgotten = await pruneTraces(database.ordinary, retentionDays, TRACES_MAX);
    if (forgotten < TRACES_MAX) this.#tracesNotBefore = now + daysIntervalMs;
    return forgotten;
  }

  async #keepDays(): Promise<void> {
    const { database, clock, retentionDays, daysIntervalMs, metrics, logger } = this.#options;
    if (readMonotonicMs() - this.#daysKeptAt < daysIntervalMs || !clock.isKnown) return;
    // Whoever reads a day for long makes this fail. The days stand ready a week ahead: the next look is soon enough, and
    // the rest of a turn goes on.
    this.#daysKeptAt = readMonotonicMs();
    try {
      const { created, dropped, oldestDayAt } = await inTransaction(database.ordinary, (client) =>
        keepHistoryDays(client, clock.now(), retentionDays),
      );
      metrics.retentionRemoved.inc({ kind: 'days' }, dropped.length);
      if (oldestDayAt !== undefined) metrics.oldestHistoryDay.set(oldestDayAt / 1_000);
      if (created.length + dropped.length > 0) logger.info({ created, dropped }, "kept the history's days");
    } catch (error) {
      logger.warn({ err: error }, "could not make or drop the history's days; trying again at the next look");
    }
  }

  /** Whether there is more to look at. A walk over all of them begins every ten minutes. */
  async #walkExternalIds(): Promise<boolean> {
    const now = readMonotonicMs();
    if (this.#externalIds === undefined && now - this.#walkBeganAt < WALK_INTERVAL_MS) return false;
    if (this.#externalIds === undefined) this.#walkBeganAt = now;
    const { database } = this.#options;
    this.#externalIds = (await pruneExternalIds(database.ordinary, this.#externalIds, EXTERNAL_IDS_MAX)).next;
    return this.#externalIds !== undefined;
  }
}
