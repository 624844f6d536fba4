import { Client, escapeIdentifier } from 'pg';

/**
 * Creates a database on the server of `url` and returns the new one's URL. With `template` it starts as a copy of that
 * database, to which nobody may be connected meanwhile (SQLSTATE 55006 otherwise). An existing name fails with 42P04.
 */
export async function createDatabase(url: string, name: string, options: { template?: string } = {}): Promise<string> {
  const template = options.template === undefined ? '' : ` template ${escapeIdentifier(options.template)}`;
  await runOnServer(url, `create database ${escapeIdentifier(name)}${template}`);
  return withDatabase(url, name);
}

/** Drops a database if it exists, ending every connection to it first. */
export async function dropDatabase(url: string, name: string): Promise<void> {
  await runOnServer(url, `drop database if exists ${escapeIdentifier(name)} with (force)`);
}

/** The same server's URL with another database. */
export function withDatabase(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${encodeURIComponent(name)}`;
  return changed.href;
}

/** Through the maintenance database: neither command works on the database one is connected to. */
async function runOnServer(url: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: withDatabase(url, 'postgres') });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
