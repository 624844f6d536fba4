import { hostname } from 'node:os';
import {
  beatServiceInstance,
  HEARTBEAT_INTERVAL_MS,
  removeServiceInstance,
  type ServiceInstance,
} from '@punctual/database';
import { createId } from '@punctual/domain';
import { LoopedRole, VERSION } from '@punctual/runtime';
import type { ApiContext } from './context.ts';

/**
 * Tells the database that this api is alive, and with which encryption keys, the one that seals first: nobody moves stored
 * secrets to another first key meanwhile. Its first turn must be over before the api takes requests or moves anything. If
 * killed, it is taken for alive for INSTANCE_TTL_MS more.
 */
export class Heartbeat extends LoopedRole {
  readonly #context: Pick<ApiContext, 'database' | 'keyring' | 'logger'>;
  readonly #instance: ServiceInstance;

  constructor(context: Pick<ApiContext, 'database' | 'keyring' | 'logger'>) {
    super({
      name: 'heartbeat',
      errorPauseMs: HEARTBEAT_INTERVAL_MS,
      complaint: 'could not tell the database that this api is alive; trying again',
      logger: context.logger,
    });
    this.#context = context;
    this.#instance = {
      id: createId(),
      role: 'api',
      host: hostname(),
      pid: process.pid,
      version: VERSION,
      details: { encryptionKeys: context.keyring.keyIds },
    };
  }

  get id(): string {
    return this.#instance.id;
  }

  /** Says goodbye, unless the database is away: then the heartbeat ages. */
  override async stop(): Promise<void> {
    await super.stop();
    const { database, logger } = this.#context;
    await removeServiceInstance(database.ordinary, this.id).catch((error: Error) =>
      logger.debug({ err: error }, 'could not say goodbye'),
    );
  }

  protected override choosePauseMs(): number {
    return HEARTBEAT_INTERVAL_MS;
  }

  async runOnce(): Promise<void> {
    await beatServiceInstance(this.#context.database.ordinary, this.#instance);
  }
}
