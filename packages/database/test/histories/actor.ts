import { inTransaction, type Transaction } from '@punctual/database';
import type pg from 'pg';
import { BREAKAGES, type Breakage } from './breakages.ts';

/** A transaction that has done all it wants to do, or is still waiting for somebody's lock. */
export interface Underway {
  /** What its last statement answered, once it has: nothing but the commit is left then. */
  answered: Promise<pg.QueryResult>;
  /** Commits or rolls back, and resolves when that is done. */
  end(isCommit: boolean): Promise<void>;
}

class RolledBack extends Error {}

/** One connection, whose transactions stop before their commit until they are told to go on. */
export class Actor {
  readonly pid: number;
  readonly #client: pg.PoolClient;
  readonly #breakage: Breakage | undefined;

  constructor(client: pg.PoolClient, pid: number, breakage: Breakage | undefined) {
    this.#client = client;
    this.pid = pid;
    this.#breakage = breakage;
  }

  /**
   * Begins an operation. `run` gets a pool of this connection alone, as it makes its transactions itself. One that is to
   * `hold` stops before its commit; any other commits with its statement, without a word.
   */
  begin(run: (pool: pg.Pool) => Promise<unknown>, hold: boolean): Underway {
    const answered = Promise.withResolvers<pg.QueryResult>();
    const gate = Promise.withResolvers<boolean>();
    let last: pg.QueryResult;
    const client = {
      query: async (query: string | pg.QueryConfig, values?: unknown[]) => {
        if (query !== 'COMMIT') {
          if (hold || query !== 'BEGIN') last = await this.query(query, values);
          return last;
        }
        answered.resolve(nameValues(last));
        if (!hold) return last;
        if (!(await gate.promise)) throw new RolledBack();
        return this.#client.query(query);
      },
      release: () => {},
    };
    const whole = run({ connect: async () => client } as unknown as pg.Pool);
    const ended = whole.catch((error: unknown) => {
      answered.reject(error);
      if (!(error instanceof RolledBack)) throw error;
    });
    // Whoever waits for either hears of it.
    answered.promise.catch(() => {});
    ended.catch(() => {});
    return {
      answered: answered.promise,
      async end(isCommit) {
        gate.resolve(isCommit);
        await ended;
      },
    };
  }

  /** Runs one statement at once, broken if it is the one to be broken. */
  query(query: string | pg.QueryConfig, values?: unknown[]): Promise<pg.QueryResult> {
    const breakage = this.#breakage;
    if (typeof query === 'string' || !breakage || query.name !== breakage.statement) {
      return this.#client.query(query as string, values);
    }
    // pg refuses one name for two texts.
    return this.#client.query({
      ...query,
      name: `broken ${BREAKAGES.indexOf(breakage)}`,
      text: breakage.apply(query.text),
    });
  }
}

/** Rows by the names of their columns, of statements that have them as arrays, too. */
function nameValues(result: pg.QueryResult): pg.QueryResult {
  const toRow = (row: unknown) =>
    Array.isArray(row) ? Object.fromEntries(result.fields.map(({ name }, index) => [name, row[index]])) : row;
  return { ...result, rows: result.rows.map(toRow) };
}

/** For an operation of a single statement. */
export function runAlone(statement: (client: Transaction) => Promise<unknown>): (pool: pg.Pool) => Promise<unknown> {
  return (pool) => inTransaction(pool, statement);
}
