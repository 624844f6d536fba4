import { type Database, readDatabaseFigures, readMonotonicMs, readTenantFigures } from '@punctual/database';
import { type Logger, Loop, limitRate, OUTAGE_LOG_INTERVAL_MS, type Role } from '@punctual/runtime';
import type { SchedulerMetrics } from './metrics.ts';

const SHOWN = [
  'figuresReadAt',
  'databaseBytes',
  'databaseConnections',
  'oldestTransactionSeconds',
  'tableBytes',
  'tableRows',
  'tenantTimers',
] as const satisfies readonly (keyof SchedulerMetrics)[];

export interface DatabaseWatchOptions {
  database: Database;
  /** Whether this scheduler is the one that asks; two that do show the same. */
  isLeading: () => boolean;
  intervalMs: number;
  metrics: Pick<SchedulerMetrics, (typeof SHOWN)[number]>;
  logger: Logger;
}

/** The most of the time that asking may take: with very many tenants it asks less often. */
const TIME_SHARE = 0.005;
/** Between two questions whether this scheduler leads by now (ms). */
const LEAD_CHECK_MS = 1_000;
const ERROR_PAUSE_MS = 10_000;
const STATUSES = ['live', 'created', 'succeeded', 'dead', 'cancelled', 'skipped'] as const;

/**
 * Asks Postgres now and then for what no process knows by itself: sizes, rows that wait to be cleared away, totals of tenants.
 * The scheduler that owns the first partition does it; one that stops leading shows nothing any more, so that no figure is
 * there twice or stays behind. It writes nothing.
 */
export class DatabaseWatch implements Role {
  readonly #options: DatabaseWatchOptions;
  readonly #loop: Loop;
  #notBefore = Number.NEGATIVE_INFINITY;
  #isShown = false;

  constructor(options: DatabaseWatchOptions) {
    this.#options = options;
    this.#loop = new Loop({
      name: 'database-watch',
      run: () => this.runOnce(),
      pauseMs: () => Math.min(LEAD_CHECK_MS, Math.max(0, this.#notBefore - readMonotonicMs())),
      errorPauseMs: ERROR_PAUSE_MS,
      onError: limitRate(
        (error: unknown) =>
          options.logger.warn({ err: error }, 'could not read the figures of the database; trying again'),
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
    if (!this.#options.isLeading()) {
      if (this.#isShown) this.#forget();
      this.#notBefore = readMonotonicMs() + LEAD_CHECK_MS;
      return;
    }
    const beganAt = readMonotonicMs();
    if (beganAt < this.#notBefore) return;
    await this.#read();
    const endedAt = readMonotonicMs();
    this.#notBefore = Math.max(
      beganAt + this.#options.intervalMs,
      endedAt + (endedAt - beganAt) * (1 / TIME_SHARE - 1),
    );
  }

  async #read(): Promise<void> {
    const { database, metrics } = this.#options;
    const figures = await readDatabaseFigures(database.ordinary);
    const tenants = await readTenantFigures(database.ordinary);
    this.#isShown = true;
    metrics.databaseBytes.set(figures.bytes);
    metrics.databaseConnections.set({ kind: 'open' }, figures.connections);
    metrics.databaseConnections.set({ kind: 'max' }, figures.connectionsMax);
    metrics.oldestTransactionSeconds.set(figures.oldestTransactionSeconds);
    for (const { name: table, bytes, liveRows, deadRows } of figures.tables) {
      metrics.tableBytes.set({ table }, bytes);
      metrics.tableRows.set({ table, kind: 'live' }, liveRows);
      metrics.tableRows.set({ table, kind: 'dead' }, deadRows);
    }
    metrics.tenantTimers.reset();
    for (const tenant of tenants) {
      for (const status of STATUSES) metrics.tenantTimers.set({ tenant: tenant.tenantId, status }, tenant[status]);
    }
    metrics.figuresReadAt.setToCurrentTime();
  }

  #forget(): void {
    const { metrics } = this.#options;
    for (const name of SHOWN) metrics[name].reset();
    this.#isShown = false;
  }
}
