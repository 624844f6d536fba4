import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { useTestDatabase } from '../../packages/testkit/index.ts';
import { listFiles, ROOT } from '../docs/markdown-files.ts';

const db = useTestDatabase(2);
const runbooks = listFiles(join(ROOT, 'docs/runbooks'), (name) => name.endsWith('.md'));
/** `psql "$DATABASE_URL" -c 'SQL'`, in either quotes. */
const STATEMENT = /psql "\$DATABASE_URL"(?: -\w+)* -A?t?c (?:'([^']*)'|"([^"]*)")/g;

const statements = runbooks.flatMap((path) =>
  [...readFileSync(join(ROOT, path), 'utf8').matchAll(STATEMENT)].map(([, single, double]) => ({
    path,
    sql: (single ?? double)!,
  })),
);

test('runbooks ask Postgres what it can answer', async () => {
  // What psql itself does begins with a backslash.
  const asked = statements.filter(({ sql }) => !sql.startsWith('\\'));
  expect(asked.length).toBeGreaterThan(15);
  for (const { path, sql } of asked) {
    await db.database.ordinary.query(sql).catch((error: Error) => {
      throw new Error(`${path}: ${sql}: ${error.message}`);
    });
  }
});
