import { hostname } from 'node:os';
import {
  beatServiceInstance,
  HEARTBEAT_INTERVAL_MS,
  removeServiceInstance,
  type ServiceInstance,
} from '@punctual/database';
import { createId } from '@punctual/domain';
import { Loop, limitRate, OUTAGE_LOG_INTERVAL_MS, type Role, VERSION } from '@punctual/runtime';
import type { ApiContext } from './context.ts';

/**
 * Tells the database that this api is alive, and with which encryption keys, the one that seals first: nobody moves stored
 * secrets to another first key meanwhile. Its first turn must be over before the api takes requests or moves anything. If
 * killed, it is taken for alive for INSTANCE_TTL_MS more.
 */
export class Heartbeat implements Role {
  readonly #context: Pick<ApiContext, 'database' | 'keyring' | 'logger'>;
  readonly #instance: ServiceInstance;
  readonly #loop: Loop;

  constructor(context: Pick<ApiContext, 'database' | 'keyring' | 'logger'>) {
    this.#context = context;
    this.#instance = {
      id: createId(),
      role: 'api',
      host: hostname(),
      pid: process.pid,
      version: VERSION,
      details: { encryptionKeys: context.keyring.keyIds },
    };
    this.#loop = new Loop({
      name: 'heartbeat',
      run: () => this.runOnce(),
      pauseMs: () => HEARTBEAT_INTERVAL_MS,
      errorPauseMs: HEARTBEAT_INTERVAL_MS,
      onError: limitRate(
        (error: unknown) =>
          context.logger.warn({ err: error }, 'could not tell the database that this api is alive; trying again'),
        OUTAGE_LOG_INTERVAL_MS,
      ),
    });
  }

  get id(): string {
    return this.#instance.id;
  }

  get loop(): Loop {
    return this.#loop;
  }

  start(): void {
    this.#loop.start();
  }

  /** Says goodbye, unless the database is away: then the heartbeat ages. */
  async stop(): Promise<void> {
    await this.#loop.stop();
    const { database, logger } = this.#context;
    await removeServiceInstance(database.ordinary, this.id).catch((error: Error) =>
      logger.debug({ err: error }, 'could not say goodbye'),
    );
  }

  async runOnce(): Promise<void> {
    await beatServiceInstance(this.#context.database.ordinary, this.#instance);
  }
}
