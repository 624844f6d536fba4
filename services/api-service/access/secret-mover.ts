import { describeSealingObstacle, readSealingState, resealSigningSecrets, sealPlainSecrets } from '@punctual/database';
import { LoopedRole, limitRate, OUTAGE_LOG_INTERVAL_MS } from '@punctual/runtime';
import type { ApiContext } from '../context.ts';

/** Tenants, or secrets, of one transaction. */
const SECRETS_PER_TRANSACTION = 100;
/** Between two looks while something is left to do (ms), and otherwise: somebody may restore an old backup. */
const BUSY_PAUSE_MS = 2_000;
const IDLE_PAUSE_MS = 60_000;
const ERROR_PAUSE_MS = 10_000;

/**
 * Puts signing secrets under the present key: those that earlier versions stored in plain text, and those under keys that it
 * replaces. Before that it waits until every worker that is alive says that it has the key: one of an earlier version would
 * send requests unsigned. And until every api seals with that key: one with another first key would undo each move, and be
 * undone. It warns of both also when there is nothing to move. Every api with a key runs one; they leave each other's rows
 * alone, and each step is a transaction.
 */
export class SecretMover extends LoopedRole {
  readonly #context: Pick<ApiContext, 'database' | 'keyring' | 'logger'>;
  readonly #warnSeldom: (obstacle: string, workers: number) => void;
  #isLeft = false;

  constructor(context: Pick<ApiContext, 'database' | 'keyring' | 'logger'>) {
    const { logger } = context;
    super({
      name: 'secret-mover',
      errorPauseMs: ERROR_PAUSE_MS,
      complaint: 'could not put signing secrets under the present key; trying again',
      logger,
    });
    this.#context = context;
    this.#warnSeldom = limitRate(
      (obstacle: string, workers: number) =>
        workers > 0
          ? logger.warn(
              { workers },
              'some workers do not have the present encryption key: they postpone what it sealed',
            )
          : logger.warn(`signing secrets stay under the keys that they have: ${obstacle}`),
      OUTAGE_LOG_INTERVAL_MS,
    );
  }

  protected override choosePauseMs(): number {
    return this.#isLeft ? BUSY_PAUSE_MS : IDLE_PAUSE_MS;
  }

  async runOnce(): Promise<void> {
    const { database, keyring, logger } = this.#context;
    const { primaryKeyId } = keyring;
    if (primaryKeyId === undefined) return;
    const state = await readSealingState(database, primaryKeyId);
    const { plainTenants, otherKeySecrets, unpreparedWorkers } = state;
    const obstacle = describeSealingObstacle(state, primaryKeyId);
    this.#isLeft = obstacle !== undefined;
    if (obstacle !== undefined) {
      this.#warnSeldom(obstacle, unpreparedWorkers);
      return;
    }
    if (plainTenants + otherKeySecrets === 0) return;
    const sealed = await sealPlainSecrets(database, keyring, SECRETS_PER_TRANSACTION);
    const resealed = await resealSigningSecrets(database, keyring, SECRETS_PER_TRANSACTION);
    // Of other keys some may be missing here: those wait for a person.
    this.#isLeft = sealed + resealed > 0;
    if (sealed + resealed > 0) {
      logger.info(
        { tenants: sealed, secrets: resealed, keyId: primaryKeyId },
        'put signing secrets under the present key',
      );
    }
  }
}
