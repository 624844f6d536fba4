import {
  ACTION_TABLES,
  type Database,
  describeSealingObstacle,
  readSealingState,
  resealSigningSecrets,
  type SealingState,
  sealPlainSecrets,
  sealStoredActions,
} from '@punctual/database';
import type { Keyring } from '@punctual/domain';

const SECRETS_PER_TRANSACTION = 100;
/** What moves between tables while they are gone through is found by another look; more are a sign of something else. */
const LOOKS_MAX = 5;

/** Throws when an instance that is alive could not read what is moved, or would undo it. */
async function readReadyState(database: Database, primaryKeyId: string): Promise<SealingState> {
  const state = await readSealingState(database, primaryKeyId);
  const obstacle = describeSealingObstacle(state, primaryKeyId);
  if (obstacle !== undefined) throw new Error(obstacle);
  return state;
}

/** Whether everything is under the first key now. */
export async function resealStored(
  database: Database,
  keyring: Keyring,
  primaryKeyId: string,
  say: (line: string) => void,
): Promise<boolean> {
  await readReadyState(database, primaryKeyId);
  const moveAll = async (what: string, move: (limit: number) => Promise<number>) => {
    let moved = 0;
    for (let count = -1; count !== 0; moved += count) count = await move(SECRETS_PER_TRANSACTION);
    say(`${what}: ${moved} put under the key "${primaryKeyId}".`);
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
      say(`Actions of ${table}: ${result.lookedAt} looked at, ${result.sealed} put under the key.`);
      if (result.unreadable > 0) {
        isComplete = false;
        say(`  ${result.unreadable} can not be read with these keys: ${result.unreadableSamples.join(', ')} …`);
      }
    }
    if (sealed === 0) break;
    isComplete = false;
  }
  // Asked again: one that came meanwhile may have sealed with another key where nobody looks any more.
  const after = await readReadyState(database, primaryKeyId);
  if (after.plainTenants + after.otherKeySecrets > 0) {
    isComplete = false;
    say(
      `${after.plainTenants} tenants have signing secrets in plain text, ${after.otherKeySecrets} secrets need keys that are not set.`,
    );
  }
  say(isComplete ? `Everything is under the key "${primaryKeyId}".` : 'Something is left: see above.');
  return isComplete;
}
