import type { Database } from '@punctual/database';

/** Keeps autovacuum from the database's tables, for tests of what is planned before it has ever come by. */
export async function stopAutovacuum(database: Database): Promise<void> {
  const { rows } = await database.ordinary.query<{ name: string }>(
    `SELECT format('%I', relname) AS name FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace`,
  );
  for (const { name } of rows) await database.ordinary.query(`ALTER TABLE ${name} SET (autovacuum_enabled = false)`);
}
