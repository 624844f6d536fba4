import {
  type Database,
  type DatabaseClock,
  type ExternalIdCursor,
  foldLedger,
  inTransaction,
  keepHistoryDays,
  pruneExternalIds,
  pruneIdempotencyKeys,
  readMonotonicMs,
} from '@punctual/database';
import { type Logger, Loop, limitRate, OUTAGE_LOG_INTERVAL_MS, type Role } from '@punctual/runtime';

export interface PrunerOptions {
  database: Database;
  clock: DatabaseClock;
  retentionDays: number;
  logger: Logger;
}

/** Between two turns (ms). Each does a bounded amount of work. */
const INTERVAL_MS = 5_000;
const ERROR_PAUSE_MS = 10_000;
/** Between two looks at the days' partitions (ms). They stand ready a week ahead. */
const DAYS_INTERVAL_MS = 600_000;
/** Ledger entries that one turn folds into the totals. */
const LEDGER_ENTRIES_MAX = 50_000;
/** External ids that one turn looks at. */
const EXTERNAL_IDS_MAX = 1_000;
/** Idempotency keys that one turn forgets. */
const IDEMPOTENCY_KEYS_MAX = 10_000;

/**
 * Keeps tables small: makes the history's days ahead and drops those past retention, folds the ledger's entries into
 * its totals, forgets old idempotency keys and external ids. Every scheduler runs one; they do not get into each other's way, and
 * each step is a transaction of its own.
 */
export class Pruner implements Role {
  readonly #options: PrunerOptions;
  readonly #loop: Loop;
  #daysKeptAt = Number.NEGATIVE_INFINITY;
  /** Whether the last turn left something that could have been done: then the next one follows at once. */
  #isBehind = false;
  #externalIds: ExternalIdCursor | undefined;

  constructor(options: PrunerOptions) {
    this.#options = options;
    this.#loop = new Loop({
      name: 'pruner',
      run: () => this.runOnce(),
      pauseMs: () => (this.#isBehind ? 0 : INTERVAL_MS),
      errorPauseMs: ERROR_PAUSE_MS,
      onError: limitRate(
        (error: unknown) => options.logger.warn({ err: error }, 'could not tidy the tables; trying again'),
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

  async runOnce(): Promise<void> {
    const { database } = this.#options;
    // First: nothing below, when it fails, may keep the days from being made.
    await this.#keepDays();
    const folded = await foldLedger(database.ordinary, LEDGER_ENTRIES_MAX);
    const forgotten = await pruneIdempotencyKeys(database.ordinary, IDEMPOTENCY_KEYS_MAX);
    this.#isBehind = folded === LEDGER_ENTRIES_MAX || forgotten === IDEMPOTENCY_KEYS_MAX;
    this.#externalIds = (await pruneExternalIds(database.ordinary, this.#externalIds, EXTERNAL_IDS_MAX)).next;
  }

  async #keepDays(): Promise<void> {
    const { database, clock, retentionDays, logger } = this.#options;
    if (readMonotonicMs() - this.#daysKeptAt < DAYS_INTERVAL_MS || !clock.isKnown) return;
    const { created, dropped } = await inTransaction(database.ordinary, (client) =>
      keepHistoryDays(client, clock.now(), retentionDays),
    );
    this.#daysKeptAt = readMonotonicMs();
    if (created.length + dropped.length > 0) logger.info({ created, dropped }, "kept the history's days");
  }
}
