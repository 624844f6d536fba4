import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { checkDatabaseReady, connectDatabase, parsePooler } from '@punctual/database';
import { type Keyring, parseEncryptionKeys } from '@punctual/domain';
import { readEncryptionKeys } from '@punctual/local-servers';
import { readConnectionFile } from './connection-file.ts';
import { resealStored } from './reseal-stored.ts';

const USAGE = `Puts every stored secret under the first encryption key: signing secrets, and the values of secret headers of timers,
dead letters and workflows, whether they stand there in plain text or under an older key. Afterwards older keys can go.

  npm run reseal

Exit code: 0 everything is under the first key, 1 something is left (it is named), 2 it could not be done.

Settings (environment): DATABASE_URL and ENCRYPTION_KEYS; without them those of the standalone that runs in
PUNCTUAL_DATA_DIR (.punctual). Services go on meanwhile; all workers must have the first key already, and all apis must
have it first: it names those that do not, and ends with 2.`;

const DATA_DIR_DEFAULT = '.punctual';
const CONNECT_TIMEOUT_MS = 10_000;
/** The last statement reads all timers, dead letters and workflow versions whole: of a large install that takes minutes. */
const QUERY_TIMEOUT_MS = 1_800_000;
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
    return (await resealStored(database, keyring, primaryKeyId, console.log)) ? 0 : EXIT_LEFT;
  } finally {
    await database.close();
  }
}

process.exitCode = await main().catch((error: Error) => {
  console.error(error.message);
  return EXIT_FAILED;
});
