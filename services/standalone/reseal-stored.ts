import {
  ACTION_TABLES,
  countSecretsLeft,
  type Database,
  describeSealingObstacle,
  readSealingState,
  resealSigningSecrets,
  sealPlainSecrets,
  sealStoredActions,
} from '@punctual/database';
import type { Keyring } from '@punctual/domain';

const SECRETS_PER_TRANSACTION = 100;
/** What moves between tables while they are gone through is found by another look; more are a sign of something else. */
const LOOKS_MAX = 5;

/**
 * Puts everything that is stored under the first key, and says so line by line. Returns whether all of it is there, which one
 * snapshot of all tables has to show: looks alone miss what moves, from a table that is still to come to one that was.
 * Throws when an instance that is alive could not read what is moved, or would undo it. Safe to repeat; if killed, what was
 * moved stays moved.
 */
export async function resealStored(
  database: Database,
  keyring: Keyring,
  primaryKeyId: string,
  say: (line: string) => void,
): Promise<boolean> {
  await refuseObstacle(database, primaryKeyId);
  let isComplete = false;
  for (let look = 1; look <= LOOKS_MAX; look += 1) {
    const unreadable = await lookOnce(database, keyring, primaryKeyId, say);
    const left = await countSecretsLeft(database, primaryKeyId);
    isComplete = left.headerValues + left.plainTenants + left.otherKeySecrets === 0;
    if (isComplete) break;
    say(
      `Not under the key: ${left.headerValues} values of headers, the signing secrets of ${left.plainTenants} tenants in plain text, and ${left.otherKeySecrets} under other keys.`,
    );
    // Another look would not open them either.
    if (unreadable > 0 || left.otherKeySecrets > 0) break;
  }
  // Asked again: an api that came meanwhile may have sealed with another key where nobody looks any more.
  await refuseObstacle(database, primaryKeyId);
  say(isComplete ? `Everything is under the key "${primaryKeyId}".` : 'Something is left: see above.');
  return isComplete;
}

async function refuseObstacle(database: Database, primaryKeyId: string): Promise<void> {
  const obstacle = describeSealingObstacle(await readSealingState(database, primaryKeyId), primaryKeyId);
  if (obstacle !== undefined) throw new Error(obstacle);
}

/** Goes through everything once. Returns how many rows of actions can not be read with these keys. */
async function lookOnce(
  database: Database,
  keyring: Keyring,
  primaryKeyId: string,
  say: (line: string) => void,
): Promise<number> {
  const moveAll = async (what: string, move: (limit: number) => Promise<number>) => {
    let moved = 0;
    for (let count = -1; count !== 0; moved += count) count = await move(SECRETS_PER_TRANSACTION);
    say(`${what}: ${moved} put under the key "${primaryKeyId}".`);
  };
  await moveAll('Tenants with signing secrets in plain text', (limit) => sealPlainSecrets(database, keyring, limit));
  await moveAll('Signing secrets under other keys', (limit) => resealSigningSecrets(database, keyring, limit));
  let unreadable = 0;
  for (const table of ACTION_TABLES) {
    const result = await sealStoredActions(database, table, keyring);
    say(`Actions of ${table}: ${result.lookedAt} looked at, ${result.sealed} put under the key.`);
    if (result.unreadable === 0) continue;
    unreadable += result.unreadable;
    say(`  ${result.unreadable} can not be read with these keys: ${result.unreadableSamples.join(', ')} …`);
  }
  return unreadable;
}
