import { type SelectQueryBuilder, sql } from 'kysely';
import type { Queryable } from '../connect.ts';
import { runQuery } from '../run-query.ts';

/** Where a page begins: behind this `(createdAt, id)`. Epoch ms. */
export interface CreatedAfter {
  createdAt: number;
  id: string;
}

/** A page, and whether anything follows it. */
export interface StoredPage<Row> {
  rows: Row[];
  hasMore: boolean;
}

/** Epoch ms as an expression of the precision that the columns have. */
export function toInstant(ms: number) {
  return sql<number>`to_timestamp(${ms}::float8 / 1000)::timestamptz(3)`;
}

/** The condition of lists in the order `(created_at, id)`. */
export function createdBehind(after: CreatedAfter) {
  return sql<boolean>`(created_at, id) > (${toInstant(after.createdAt)}, ${after.id}::uuid)`;
}

/** Runs a query of one table as a page of the order `(createdAt, id)`. */
export async function readCreatedPage<Tables, Table extends keyof Tables, Row>(
  database: Queryable,
  query: SelectQueryBuilder<Tables, Table, Row>,
  { after, limit }: { after: CreatedAfter | undefined; limit: number },
): Promise<StoredPage<Row>> {
  const ordered = query
    .orderBy(sql`created_at`)
    .orderBy(sql`id`)
    .limit(limit + 1);
  return cutRows(await runQuery(database, after ? ordered.where(createdBehind(after)) : ordered), limit);
}

/** Turns up to `limit` + 1 rows that were read into a page of `limit`. */
export function cutRows<Row>(rows: Row[], limit: number): StoredPage<Row> {
  return { rows: rows.slice(0, limit), hasMore: rows.length > limit };
}
