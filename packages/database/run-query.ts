import type { Compilable, RawBuilder } from 'kysely';
import type { Queryable } from './connect.ts';
import { queryBuilder } from './query-builder.ts';

/**
 * Runs a query that Kysely built on any pool, connection or tenant's handle: the way to use the builder inside a
 * transaction that also runs hot statements. Returns its rows; rejects with pg's errors.
 */
export async function runQuery<Row>(database: Queryable, query: Compilable<Row> | RawBuilder<Row>): Promise<Row[]> {
  const { sql, parameters } = 'isRawBuilder' in query ? query.compile(queryBuilder) : query.compile();
  const result = await database.query(sql, [...parameters]);
  return result.rows as Row[];
}
