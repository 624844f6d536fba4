import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  findFreePort,
  type RunningPostgres,
  type RunningRedis,
  type RunningStack,
  type StackOptions,
  startPostgres,
  startRedis,
  startStack,
} from '@punctual/local-servers';
import { type Receiver, startReceiver } from '@punctual/testkit';

export interface OwnSystemOptions {
  /** Gets what Postgres and Redis say. */
  log?: (line: string) => void;
  /** How the stack is to be, once its servers are there. */
  describeStack(servers: { folder: string; postgres: RunningPostgres }): Promise<Partial<StackOptions>>;
}

/** The services on a Postgres and a Redis of a test's own, which it may kill and start again where they were. */
export class OwnSystem {
  readonly #log: (line: string) => void;
  readonly #ports: { postgres: number; redis: number };
  /** Of the Postgres, and for whatever else is to go in the end. */
  readonly folder = mkdtempSync(join(tmpdir(), 'punctual-own-system-'));
  postgres!: RunningPostgres;
  redis!: RunningRedis;
  receiver!: Receiver;
  stack!: RunningStack;

  private constructor(log: (line: string) => void, ports: { postgres: number; redis: number }) {
    this.#log = log;
    this.#ports = ports;
  }

  static async start({ log = () => {}, describeStack }: OwnSystemOptions): Promise<OwnSystem> {
    const system = new OwnSystem(log, { postgres: await findFreePort(), redis: await findFreePort() });
    try {
      await Promise.all([system.startPostgres(), system.startRedis()]);
      system.receiver = await startReceiver();
      const { postgres, redis } = system;
      system.stack = await startStack({
        databaseUrl: postgres.url,
        redisUrl: redis.url,
        log: () => {},
        ...(await describeStack({ folder: system.folder, postgres })),
      });
      return system;
    } catch (error) {
      await system.stop();
      throw error;
    }
  }

  /** After its end, with the data and at the port that it had. */
  async startPostgres(): Promise<void> {
    const dataDir = join(this.folder, 'postgres');
    this.postgres = await startPostgres({ dataDir, port: this.#ports.postgres, log: this.#log });
  }

  /** After its end, at the port that it had, and empty. */
  async startRedis(): Promise<void> {
    this.redis = await startRedis({ ephemeral: true, port: this.#ports.redis, log: this.#log });
  }

  async stop(): Promise<void> {
    await this.stack?.stop();
    await Promise.all([this.postgres?.stop(), this.redis?.stop(), this.receiver?.close()]);
    rmSync(this.folder, { recursive: true, force: true });
  }
}
