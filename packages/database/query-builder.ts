import { DummyDriver, Kysely, PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler } from 'kysely';
import type { Tables } from './tables.ts';

/** In place of a way to Postgres: what is built here runs on what `runQuery` is given, and nowhere else. */
class NoDriver extends DummyDriver {
  override acquireConnection(): Promise<never> {
    return Promise.reject(new Error('the query builder runs nothing by itself; hand the query to runQuery'));
  }
}

/**
 * Builds queries that may belong to one tenant. It has no connection, so that none of them can be run past the tenant's
 * handle by a call of `execute`.
 */
export const queryBuilder = new Kysely<Tables>({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new NoDriver(),
    createIntrospector: (database) => new PostgresIntrospector(database),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
});
