import { connectDatabase, type Database } from '@punctual/database';
import type { TestDatabase } from '@punctual/testkit';
import fc from 'fast-check';
import type pg from 'pg';
import { Actor } from './actor.ts';
import type { Breakage } from './breakages.ts';
import { type ControlledClock, createClockedDatabase } from './controlled-clock.ts';
import { History } from './history.ts';
import { histories, type Step } from './steps.ts';

/** Connections whose transactions interleave: two that hold locks, and others that come in between. */
const ACTORS = 4;
/** Longer than a history that stands still for a moment. */
const QUERY_TIMEOUT_MS = 60_000;
/** Rows of ended timers slow down the looks at the tables: they go after so many histories. */
const HISTORIES_PER_CLEANING = 100;
const BEGIN_US = Date.UTC(2030, 0, 1) * 1000;

/** Runs histories one after the other on a database of its own, whose clock it moves. */
export class HistoryRunner {
  readonly #testDatabase: TestDatabase;
  readonly #database: Database;
  readonly #clients: pg.PoolClient[];
  readonly #pids: number[];
  readonly #clock: ControlledClock;
  #count = 0;
  #ids = 0;

  private constructor(
    testDatabase: TestDatabase,
    database: Database,
    clients: pg.PoolClient[],
    pids: number[],
    clock: ControlledClock,
  ) {
    this.#testDatabase = testDatabase;
    this.#database = database;
    this.#clients = clients;
    this.#pids = pids;
    this.#clock = clock;
  }

  static async open(): Promise<HistoryRunner> {
    const { testDatabase, makeClockOf } = await createClockedDatabase();
    const database = connectDatabase({
      connectionString: testDatabase.url,
      applicationName: 'test',
      poolSizeMax: ACTORS + 2,
      queryTimeoutMs: QUERY_TIMEOUT_MS,
    });
    const clients: pg.PoolClient[] = [];
    const pids: number[] = [];
    for (let index = 0; index < ACTORS + 2; index += 1) {
      const client = await database.hot.connect();
      // A history may hold a transaction for longer than a service should.
      await client.query('SET idle_in_transaction_session_timeout = 0');
      const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
      clients.push(client);
      pids.push(rows[0]!.pid);
    }
    return new HistoryRunner(testDatabase, database, clients, pids, makeClockOf(clients[ACTORS]!));
  }

  /** Rejects with the whole story when the history does not go as the model says. */
  async run(steps: readonly Step[], breakage?: Breakage): Promise<void> {
    const control = this.#clients[ACTORS]!;
    const actors = this.#clients.map((client, index) => new Actor(client, this.#pids[index]!, breakage));
    this.#count += 1;
    await this.#clock.moveTo(BEGIN_US);
    const history = new History({
      actors: actors.slice(0, ACTORS),
      reader: actors[ACTORS + 1]!,
      control,
      clock: this.#clock,
      tenantId: this.#createId(),
      nextId: () => this.#createId(),
    });
    try {
      await history.run(steps);
      if (this.#count % HISTORIES_PER_CLEANING === 0) await this.#clean();
    } catch (error) {
      await history.abandon();
      await this.#clean();
      throw error;
    }
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.release();
    await this.#database.close();
    await this.#testDatabase.drop();
  }

  /** What is run next goes as if it were the first: the ids of its timers are the same, on which their partitions depend. */
  async restart(): Promise<void> {
    await this.#clean();
    this.#ids = 0;
  }

  // Ids that rise, so that a history names its timers alike each time it is run.
  #createId(): string {
    this.#ids += 1;
    return `00000000-0000-7000-8000-${this.#ids.toString(16).padStart(12, '0')}`;
  }

  async #clean(): Promise<void> {
    await this.#clients[ACTORS]!.query(
      'TRUNCATE timers, dead_letters, finished_timers, attempts, ledger_entries, ledger_totals, audit_log',
    );
  }
}

/**
 * Runs as many histories as `numRuns` says, of those that `seed` and `path` choose. Returns what is to be told of one that
 * does not go as the model says, and the path to it.
 */
export async function checkHistories(
  runner: HistoryRunner,
  { numRuns, seed, path }: { numRuns: number; seed: number; path: string | undefined },
  onHistory: () => void,
): Promise<{ report: string; path: string } | undefined> {
  const property = goAsTheModelSays(runner).beforeEach(onHistory);
  const details = await fc.check(property, { numRuns, seed, ...(path !== undefined && { path, endOnFailure: true }) });
  if (!details.failed) return undefined;
  const story = details.errorInstance instanceof Error ? details.errorInstance.message : String(details.errorInstance);
  return { report: `${fc.defaultReportMessage(details) ?? ''}\n${story}`, path: details.counterexamplePath ?? '' };
}

/** The property: every history goes as the model says. */
export function goAsTheModelSays(runner: HistoryRunner, breakage?: Breakage) {
  return fc.asyncProperty(histories, (steps) => runner.run(steps, breakage));
}
