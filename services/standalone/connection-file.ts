import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const NAME = 'connection.json';

/** Tells commands on this machine (`npm run ledger`) how to reach the embedded Postgres. Readable by its owner only. */
export async function writeConnectionFile(dataDir: string, databaseUrl: string): Promise<void> {
  await writeFile(join(dataDir, NAME), `${JSON.stringify({ databaseUrl })}\n`, { mode: 0o600 });
}

/** After the Postgres has ended. */
export async function removeConnectionFile(dataDir: string): Promise<void> {
  await rm(join(dataDir, NAME), { force: true });
}

/** The database of the standalone that runs in this folder; undefined when none does. */
export async function readConnectionFile(dataDir: string): Promise<string | undefined> {
  let text: string;
  try {
    text = await readFile(join(dataDir, NAME), 'utf8');
  } catch {
    return undefined;
  }
  return (JSON.parse(text) as { databaseUrl: string }).databaseUrl;
}
