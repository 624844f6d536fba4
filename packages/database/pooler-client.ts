import pg from 'pg';
import { type FirstStatement, PrecededQuery } from './preceded-query.ts';

/** Settings of a session by name, as Postgres' `SET` takes them. */
export type SessionSettings = Readonly<Record<string, string | number>>;

type Callback = (error: Error | null, result: pg.QueryResult) => void;

const BEGINS = /^BEGIN\b/i;
const ENDS = /^(COMMIT|ROLLBACK)\b/i;

/**
 * A client for a pooler that hands the server's connection to somebody else after each transaction (PgBouncer's
 * `transaction` mode): what a session would keep has to be told anew in each. So settings go before each statement, in the
 * same round trip, and end with its transaction; nothing is prepared, since the next one may meet another connection.
 *
 * Each statement is parsed and planned again, and eight settings are set: some 100 µs of Postgres.
 */
export function createPoolerClient(settings: SessionSettings): typeof pg.Client {
  const calls = Object.entries(settings).map(([name, value]) => `set_config('${name}', '${value}', true)`);
  const text = `SELECT ${calls.join(', ')}`;
  const first: FirstStatement = { text, values: [] };

  class PoolerClient extends pg.Client {
    #isInTransaction = false;

    // pg's own has ten signatures; what comes in is a text, a config, or a query that sends itself.
    override query(query: unknown, ...rest: unknown[]): never {
      const submit = super.query.bind(this) as (...parameters: unknown[]) => never;
      if (query instanceof PrecededQuery) {
        query.precedeUnprepared(first);
        return submit(query, ...rest);
      }
      const callback = rest.find((parameter) => typeof parameter === 'function') as Callback | undefined;
      const values = rest.find((parameter) => Array.isArray(parameter)) as unknown[] | undefined;
      const given = (typeof query === 'string' ? { text: query } : query) as pg.QueryConfig;
      const config = { ...given, ...(values && { values }), name: undefined };
      if (BEGINS.test(config.text)) {
        this.#isInTransaction = true;
        return submit(`${config.text}; ${text}`, ...rest);
      }
      if (ENDS.test(config.text)) this.#isInTransaction = false;
      else if (!this.#isInTransaction) return this.#submitPreceded(config, callback);
      return (callback ? submit(config, callback) : submit(config)) as never;
    }

    #submitPreceded(config: pg.QueryConfig, callback: Callback | undefined): never {
      const query = new PrecededQuery([first], config);
      const submit = (done: Callback) => (super.query as (...parameters: unknown[]) => unknown).call(this, query, done);
      if (callback) return submit(callback) as never;
      return new Promise<pg.QueryResult>((resolve, reject) => {
        submit((error, result) => (error ? reject(error) : resolve(result)));
      }) as never;
    }
  }
  return PoolerClient;
}
