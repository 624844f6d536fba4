import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import {
  ACTION_TABLES,
  checkDatabaseReady,
  connectDatabase,
  type Database,
  parsePooler,
  readSealingState,
  resealSigningSecrets,
  sealPlainSecrets,
  sealStoredActions,
} from '@punctual/database';
import { type Keyring, parseEncryptionKeys } from '@punctual/domain';
import { readEncryptionKeys } from '@punctual/local-servers';
import { readConnectionFile } from './connection-file.ts';

const USAGE = `Puts every stored secret under the first encryption key: signing secrets, and the values of secret headers of timers,
dead letters and workflows, whether they stand there in plain text or under an older key. Afterwards older keys can go.

  npm run reseal

Exit code: 0 everything is under the first key, 1 something is left (it is named), 2 it could not be done.

Settings (environment): DATABASE_URL and ENCRYPTION_KEYS; without them those of the standalone that runs in
PUNCTUAL_DATA_DIR (.punctual). Services go on meanwhile; all of them must have the first key already.`;

const DATA_DIR_DEFAULT = '.punctual';
const CONNECT_TIMEOUT_MS = 10_000;
const QUERY_TIMEOUT_MS = 60_000;
const SECRETS_PER_TRANSACTION = 100;
/** What moves between tables while they are gone through is found by another look; more are a sign of something else. */
const LOOKS_MAX = 5;
const EXIT_LEFT = 1;
const EXIT_FAILED = 2;

async function readSettings(): Promise<{ databaseUrl: string; keyring: Keyring; primaryKeyId: string }> {
  const folder = resolve(process.env.PUNCTUAL_DATA_DIR || DATA_DIR_DEFAULT);
  const databaseUrl = process.env.DATABASE_URL || (await readConnectionFile(folder));
  if (!databaseUrl) throw new Error(`DATABASE_URL is not set, and no standalone runs in ${folder}.`);
  // Another database than that of the folder has other keys.
  const ofFolder = process.env.DATABASE_URL ? undefined : readEncryptionKeys(folder);
  const keyring = readKeyring(process.env.ENCRYPTION_KEYS || ofFolder);
  const { primaryKeyId } = keyring;
  if (primaryKeyId === undefined) throw new Error('ENCRYPTION_KEYS is not set.');
  return { databaseUrl, keyring, primaryKeyId };
}

function readKeyring(text: string | undefined): Keyring {
  try {
    return parseEncryptionKeys(text);
  } catch (error) {
    throw new Error(`ENCRYPTION_KEYS ${(error as Error).message}`);
  }
}

/** Whether everything is under the first key now. */
async function resealAll(database: Database, keyring: Keyring, primaryKeyId: string): Promise<boolean> {
  const before = await readSealingState(database, primaryKeyId);
  if (before.unpreparedWorkers > 0) {
    throw new Error(
      `${before.unpreparedWorkers} workers that are alive do not have the key "${primaryKeyId}": restart them with it first.`,
    );
  }
  const moveAll = async (what: string, move: (limit: number) => Promise<number>) => {
    let moved = 0;
    for (let count = -1; count !== 0; moved += count) count = await move(SECRETS_PER_TRANSACTION);
    console.log(`${what}: ${moved} put under the key "${primaryKeyId}".`);
  };
  await moveAll('Tenants with signing secrets in plain text', (limit) => sealPlainSecrets(database, keyring, limit));
  await moveAll('Signing secrets under other keys', (limit) => resealSigningSecrets(database, keyring, limit));
  let isComplete = true;
  for (let look = 1; look <= LOOKS_MAX; look += 1) {
    let sealed = 0;
    isComplete = true;
    for (const table of ACTION_TABLES) {
      const result = await sealStoredActions(database, table, keyring);
      sealed += result.sealed;
      console.log(`Actions of ${table}: ${result.lookedAt} looked at, ${result.sealed} put under the key.`);
      if (result.unreadable > 0) {
        isComplete = false;
        console.log(`  ${result.unreadable} can not be read with these keys: ${result.unreadableSamples.join(', ')} …`);
      }
    }
    if (sealed === 0) break;
    isComplete = false;
  }
  const after = await readSealingState(database, primaryKeyId);
  if (after.plainTenants + after.otherKeySecrets > 0) {
    isComplete = false;
    console.log(
      `${after.plainTenants} tenants have signing secrets in plain text, ${after.otherKeySecrets} secrets need keys that are not set.`,
    );
  }
  console.log(isComplete ? `Everything is under the key "${primaryKeyId}".` : 'Something is left: see above.');
  return isComplete;
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { help: { type: 'boolean', short: 'h' } } });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const { databaseUrl, keyring, primaryKeyId } = await readSettings();
  const database = connectDatabase({
    connectionString: databaseUrl,
    pooler: parsePooler(process.env.DATABASE_POOLER),
    applicationName: 'punctual-reseal',
    poolSizeMax: 2,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    queryTimeoutMs: QUERY_TIMEOUT_MS,
  });
  try {
    await checkDatabaseReady(database);
    return (await resealAll(database, keyring, primaryKeyId)) ? 0 : EXIT_LEFT;
  } finally {
    await database.close();
  }
}

process.exitCode = await main().catch((error: Error) => {
  console.error(error.message);
  return EXIT_FAILED;
});
