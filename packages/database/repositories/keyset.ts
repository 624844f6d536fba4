import { sql } from 'kysely';

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

/** Turns up to `limit` + 1 rows that were read into a page of `limit`. */
export function cutRows<Row>(rows: Row[], limit: number): StoredPage<Row> {
  return { rows: rows.slice(0, limit), hasMore: rows.length > limit };
}
