import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RunningPostgres, type RunningStack, startPostgres, startStack } from '@punctual/local-servers';
import {
  BACKENDS,
  queryServer,
  type Receiver,
  startReceiver,
  TEST_KEYS,
  takeBaseBackup,
  waitUntil,
} from '@punctual/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ApiClient, type BatchResult, type Timer } from './api-client.ts';
import { STACK_LIMIT_MS } from './test-stack.ts';

const TEST_LIMIT_MS = 180_000;
/** Copies of gigabytes aside, each step takes a second; the machine may do much else (ms). */
const STEP_LIMIT_MS = 60_000;
const AN_HOUR_MS = 3_600_000;
/** In which a test gets from the first create to the accident, and the accident to the restored services (ms). */
const SOON_MS = 4_000;
const TIMERS = 20;
/** Where a restore ends, as an operator would give the minute before the accident. */
const MOMENT = 'before_the_accident';

interface Ledger {
  isBalanced: boolean;
}

// The steps of docs/runbooks/back-up-and-restore-postgres.md.
describe.each(BACKENDS)('with the queue in %s, a database that is restored to a moment', (queue) => {
  let folder: string;
  let endpoint: Receiver;
  const servers: RunningPostgres[] = [];
  const stacks: RunningStack[] = [];
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'punctual-restore-'));
    // Postgres runs as another user when we are root, and has to come through.
    chmodSync(folder, 0o755);
    mkdirSync(join(folder, 'archive'));
    chmodSync(join(folder, 'archive'), 0o777);
    endpoint = await startReceiver();
  });
  afterEach(async () => {
    for (const stack of stacks.splice(0)) await stack.stop();
    for (const server of servers.splice(0)) await server.stop();
    await endpoint?.close();
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  }, STACK_LIMIT_MS);

  async function startServer(name: string, settings: Record<string, string>): Promise<RunningPostgres> {
    const server = await startPostgres({ dataDir: join(folder, name), settings, log: () => {} });
    servers.push(server);
    return server;
  }
  async function startServices(databaseUrl: string): Promise<{ stack: RunningStack; api: ApiClient }> {
    const stack = await startStack({
      databaseUrl,
      ...(queue === 'postgres' && { redisUrl: null }),
      env: { LOG_LEVEL: 'error', ENCRYPTION_KEYS: TEST_KEYS },
      ephemeral: true,
      log: () => {},
    });
    stacks.push(stack);
    return { stack, api: new ApiClient(stack.apiUrls, 5) };
  }
  async function create(api: ApiClient, kind: string, dueInMs: number): Promise<string[]> {
    const timer = {
      dueAt: new Date(Date.now() + dueInMs).toISOString(),
      action: { type: 'http', url: `${endpoint.url}/${kind}` },
    };
    const { results } = await api.expect<{ results: BatchResult[] }>([207], 'POST', '/v1/timers/batch', {
      timers: Array.from({ length: TIMERS }, () => timer),
    });
    return results.map((result) => result.timer!.id);
  }
  const listDelivered = (kind: string) =>
    endpoint.requests.filter(({ path }) => path === `/${kind}`).map(({ headers }) => String(headers['webhook-id']));

  it(
    'delivers what was delivered since again, under the same webhook-ids, keeps what sleeps, and has nothing of what came since',
    async () => {
      const primary = await startServer('primary', {
        archive_mode: 'on',
        archive_command: `cp %p ${join(folder, 'archive')}/%f`,
      });
      const before = await startServices(primary.url);
      const sleeping = await create(before.api, 'sleeping', AN_HOUR_MS);
      const early = await create(before.api, 'early', 0);
      await waitUntil('the early ones are delivered', () => listDelivered('early').length === TIMERS, STEP_LIMIT_MS);
      await takeBaseBackup(primary.url, join(folder, 'primary'), join(folder, 'copy'), 'recovery.signal');

      // Since the copy: in the log alone. They are due after the moment.
      const again = await create(before.api, 'again', SOON_MS);
      await queryServer(primary.url, `SELECT pg_create_restore_point('${MOMENT}')`);
      expect(listDelivered('again')).toEqual([]);
      const lost = await create(before.api, 'lost', AN_HOUR_MS);
      await waitUntil('the others are delivered', () => listDelivered('again').length === TIMERS, STEP_LIMIT_MS);
      const sent = listDelivered('again');

      // The accident: somebody takes the wrong database for a test's.
      await queryServer(primary.url, 'DROP TABLE timers CASCADE');
      const [wal] = await queryServer(primary.url, 'SELECT pg_walfile_name(pg_switch_wal()) AS segment');
      const isArchived = () => existsSync(join(folder, 'archive', String(wal?.segment)));
      await waitUntil('the last of the log is in the archive', isArchived, STEP_LIMIT_MS);
      await before.stack.stop();
      await primary.stop();

      const restored = await startServer('copy', {
        restore_command: `cp ${join(folder, 'archive')}/%f %p`,
        recovery_target_name: MOMENT,
        recovery_target_action: 'promote',
      });
      const isPrimary = async () =>
        (await queryServer(restored.url, 'SELECT pg_is_in_recovery() AS yes'))[0]?.yes === false;
      await waitUntil('recovery has ended', isPrimary, STEP_LIMIT_MS);
      const after = await startServices(restored.url);
      const isAgain = () => listDelivered('again').length === 2 * TIMERS;
      await waitUntil('what was delivered since is delivered again', isAgain, STEP_LIMIT_MS);

      expect(new Set(sent).size).toBe(TIMERS);
      expect(listDelivered('again').slice(TIMERS).toSorted()).toEqual(sent.toSorted());
      const show = async (id: string) => (await after.api.send<Timer>('GET', `/v1/timers/${id}`)).body.status;
      expect(new Set(await Promise.all(sleeping.map(show)))).toEqual(new Set(['scheduled']));
      const lostAnswers = await Promise.all(lost.map((id) => after.api.send('GET', `/v1/timers/${id}`)));
      expect(new Set(lostAnswers.map(({ status }) => status))).toEqual(new Set([404]));
      await waitUntil(
        'all outcomes are written',
        async () => (await Promise.all([...early, ...again].map(show))).every((status) => status === 'succeeded'),
        STEP_LIMIT_MS,
      );
      expect((await after.api.expect<Ledger>([200], 'GET', '/v1/ledger')).isBalanced).toBe(true);
      // What had been delivered before the moment is known to have been.
      expect(listDelivered('early')).toHaveLength(TIMERS);
      expect([...listDelivered('sleeping'), ...listDelivered('lost')]).toEqual([]);
    },
    TEST_LIMIT_MS,
  );
});
