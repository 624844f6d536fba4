import assert from 'node:assert/strict';
import { join } from 'node:path';
import {
  findFreePort,
  listNodeEnvironment,
  type RunningService,
  type RunningStack,
  startService,
  startStack,
} from '../../packages/local-servers/index.ts';
import { type Receiver, startReceiver, TEST_KEYS, waitUntil } from '../../packages/testkit/index.ts';
import { ROOT } from '../docs/markdown-files.ts';
import { ApiClient, type BatchResult, type Timer } from '../e2e/api-client.ts';
import type { Operator } from './operator.ts';

const AN_HOUR_MS = 3_600_000;
const WAIT_LIMIT_MS = 60_000;
const TIMERS = 20;
/** Who owns the tables, and who a superuser is. */
const OWNER = 'punctual';
const SUPERUSER = 'postgres';

/** A server of Postgres in a folder of its own, and how it is reached. */
export interface Cluster {
  folder: string;
  port: number;
  /** By the owner of the tables, who is no superuser. */
  url: string;
  superuserUrl: string;
}

export async function nameCluster(folder: string): Promise<Cluster> {
  const port = await findFreePort();
  const makeUrl = (user: string) => `postgres://${user}@127.0.0.1:${port}/punctual`;
  return { folder, port, url: makeUrl(OWNER), superuserUrl: makeUrl(SUPERUSER) };
}

/** Makes the cluster and its database, as whoever installs Postgres does. `hasTenantRole`: with the role that the tables need. */
export async function createCluster(
  operator: Operator,
  { folder, port, superuserUrl }: Cluster,
  hasTenantRole: boolean,
): Promise<void> {
  const server = superuserUrl.replace(/punctual$/, 'postgres');
  await operator.run(`initdb -D ${folder} -U ${SUPERUSER} --auth=trust > /dev/null`);
  await operator.run(`pg_ctl -D ${folder} start > /dev/null`, { PGPORT: String(port) });
  const roles = [`create role ${OWNER} login`, `create database punctual owner ${OWNER}`];
  if (hasTenantRole) roles.push('create role punctual_tenant nologin', `grant punctual_tenant to ${OWNER}`);
  await operator.run(`psql -q "$SERVER" ${roles.map((role) => `-c '${role}'`).join(' ')}`, { SERVER: server });
}

/** What runs on a database: the services, and an endpoint of a third party, which stays when they are stopped. */
export class Installation {
  readonly endpoint: Receiver;
  #stack: RunningStack | undefined;
  #standalone: RunningService | undefined;
  #api: ApiClient | undefined;

  private constructor(endpoint: Receiver) {
    this.endpoint = endpoint;
  }

  static async create(): Promise<Installation> {
    return new Installation(await startReceiver());
  }

  get api(): ApiClient {
    return this.#api!;
  }

  get stack(): RunningStack {
    return this.#stack!;
  }

  /** Starts an api, a scheduler and a worker; `databaseUrl` absent: on a Postgres that comes with them. */
  async start(databaseUrl?: string, { scheduler = 1 } = {}): Promise<void> {
    this.#stack = await startStack({
      ...(databaseUrl !== undefined && { databaseUrl }),
      scheduler,
      env: { LOG_LEVEL: 'error', ENCRYPTION_KEYS: TEST_KEYS },
      ephemeral: true,
      log: () => {},
    });
    this.#api = new ApiClient(this.#stack.apiUrls, 5);
  }

  /** Starts the standalone as `npm start` does, with its Postgres in this folder. */
  async startStandalone(dataFolder: string): Promise<void> {
    this.#standalone = await startService({
      name: 'standalone',
      entry: join(ROOT, 'services/standalone/main.ts'),
      env: { ...listNodeEnvironment(), PUNCTUAL_DATA_DIR: dataFolder },
      logFile: `${dataFolder}.log`,
      log: () => {},
    });
    this.#api = new ApiClient([this.#standalone.url], 5);
  }

  /** Starts another process of a kind, and then stops the one there was. */
  async restart(kind: 'api' | 'worker'): Promise<void> {
    const before = this.stack.processes.find(({ name }) => name.startsWith(kind))!;
    const after = await this.stack.add(kind);
    if (kind === 'api') this.#api = new ApiClient([after.url], 5);
    await before.stop();
  }

  async stop(): Promise<void> {
    await this.#stack?.stop();
    await this.#standalone?.stop();
    this.#stack = undefined;
    this.#standalone = undefined;
  }

  async close(): Promise<void> {
    await this.stop();
    await this.endpoint.close();
  }

  /** Creates timers that call `/KIND` then, and returns their ids. */
  async createTimers(kind: string, dueInMs = AN_HOUR_MS): Promise<string[]> {
    const timer = {
      dueAt: new Date(Date.now() + dueInMs).toISOString(),
      action: { type: 'http', url: `${this.endpoint.url}/${kind}` },
    };
    const timers = Array.from({ length: TIMERS }, () => timer);
    const { results } = await this.api.expect<{ results: BatchResult[] }>([207], 'POST', '/v1/timers/batch', {
      timers,
    });
    return results.map((result) => result.timer!.id);
  }

  /** The `webhook-id` of each request to `/KIND`. */
  listDelivered(kind: string): string[] {
    return this.endpoint.requests
      .filter(({ path }) => path === `/${kind}`)
      .map(({ headers }) => String(headers['webhook-id']));
  }

  async waitForDeliveries(kind: string, count = TIMERS): Promise<void> {
    await waitUntil(`/${kind} got ${count}`, () => this.listDelivered(kind).length === count, WAIT_LIMIT_MS);
  }

  /** Waits until all have this status. */
  async waitForStatus(ids: readonly string[], status: Timer['status']): Promise<void> {
    const isSo = async (id: string) => (await this.api.send<Timer>('GET', `/v1/timers/${id}`)).body.status === status;
    await waitUntil(`all are ${status}`, async () => (await Promise.all(ids.map(isSo))).every(Boolean), WAIT_LIMIT_MS);
  }

  /** Delivers some timers, and leaves as many asleep: what there is before a page begins. */
  async begin(): Promise<{ delivered: string[]; sleeping: string[] }> {
    const delivered = await this.createTimers('early', 0);
    const sleeping = await this.createTimers('sleeping');
    await this.waitForDeliveries('early');
    await this.waitForStatus(delivered, 'succeeded');
    return { delivered, sleeping };
  }

  /** Waits until what was `sent` to `/KIND` has come once more, and throws unless its `webhook-id`s are the same. */
  async waitForRepeat(kind: string, sent: readonly string[]): Promise<void> {
    await this.waitForDeliveries(kind, 2 * sent.length);
    assert.deepEqual(this.listDelivered(kind).slice(sent.length).toSorted(), sent.toSorted());
  }

  /** Throws when one of the timers is known. */
  async checkUnknown(ids: readonly string[]): Promise<void> {
    const answers = await Promise.all(ids.map((id) => this.api.send('GET', `/v1/timers/${id}`)));
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([404]));
  }

  /**
   * Throws unless a copy was taken back in which `delivered` had ended, `again` was still to come and `lost` did not exist: all of
   * `again`, `sent` before under these `webhook-id`s, comes once more, and nothing else does.
   */
  async checkWayBack(timers: {
    delivered: readonly string[];
    sleeping: readonly string[];
    again: readonly string[];
    sent: readonly string[];
    lost: readonly string[];
  }): Promise<void> {
    const { delivered, sleeping, again, sent, lost } = timers;
    await this.waitForRepeat('again', sent);
    await this.waitForStatus([...delivered, ...again], 'succeeded');
    await this.waitForStatus(sleeping, 'scheduled');
    await this.checkUnknown(lost);
    assert.equal(this.listDelivered('early').length, delivered.length);
    await this.checkLedger();
  }

  /** Throws unless the ledger balances. */
  async checkLedger(): Promise<void> {
    const { isBalanced } = await this.api.expect<{ isBalanced: boolean }>([200], 'GET', '/v1/ledger');
    if (!isBalanced) throw new Error('The ledger does not balance.');
  }
}
