import type { Compilable } from 'kysely';
import type { Queryable } from './connect.ts';

/**
 * Runs a query that Kysely built on any pool or connection: the way to use the builder inside a transaction that
 * also runs hot statements. Returns its rows; rejects with pg's errors.
 */
export async function runQuery<Row>(database: Queryable, query: Compilable<Row>): Promise<Row[]> {
  const { sql, parameters } = query.compile();
  const result = await database.query(sql, [...parameters]);
  return result.rows as Row[];
}
