import type { TestApi } from './open-test-api.ts';

/** Names of tables some row of which holds the text. */
export async function findTables(api: TestApi, text: string): Promise<string[]> {
  const { ordinary } = api.testDatabase.database;
  const { rows } = await ordinary.query<{ name: string }>(
    `SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition`,
  );
  const found: string[] = [];
  for (const { name } of rows) {
    const { rowCount } = await ordinary.query(`SELECT FROM ${name} AS t WHERE strpos(t::text, $1) > 0 LIMIT 1`, [text]);
    if (rowCount! > 0) found.push(name);
  }
  return found.toSorted();
}
