import type { Queryable } from './connect.ts';

/**
 * A statement that Postgres parses and plans once per connection, because it has a name (a batch of 500 rows
 * costs 5.6 µs a row this way against 8.6 µs unnamed; docs/decisions/0003).
 * The name must be unique in the code base: pg refuses one name with two texts.
 */
export function nameStatement<Row extends object>(name: string, text: string) {
  return async (database: Queryable, values: unknown[]): Promise<Row[]> => {
    const result = await database.query<Row>({ name, text, values });
    return result.rows;
  };
}

/**
 * The same for a statement that returns many rows, where it shows how pg makes objects of them: `readRow` makes each of its
 * values, which come in the order of the columns (21 columns: 0.1 µs a row in place of 0.7).
 */
export function nameRowsStatement<Values extends unknown[], Row extends object>(
  name: string,
  text: string,
  readRow: (values: Values) => Row,
) {
  return async (database: Queryable, values: unknown[]): Promise<Row[]> => {
    const result = await database.query<Values>({ name, text, values, rowMode: 'array' });
    return result.rows.map((values) => readRow(values));
  };
}

/**
 * The text form of a Postgres array of values that never need quotes there: uuids, numbers, names of enum members, null.
 * pg would look for quotes and backslashes in each (3% of a worker's time).
 */
export function toPlainArray(values: readonly (string | number | null)[]): string {
  let text = '{';
  for (let index = 0; index < values.length; index += 1) text += `${index > 0 ? ',' : ''}${values[index] ?? 'NULL'}`;
  return `${text}}`;
}

/**
 * A column for `unnest`, null when all its values are: unnest fills up with nulls what is shorter than the columns beside it.
 * Postgres reads no text for it then: timers with few of their fields are stored a fifth faster in batches.
 */
export function toColumn<T>(values: readonly T[]): readonly T[] | null {
  return values.every((value) => value === null) ? null : values;
}
