import { join } from 'node:path';
import { findFreePort, type RunningRedis, startRedis } from '@punctual/local-servers';
import { emptyRedis, waitUntil } from '@punctual/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiClient, type Problem, send, type Timer } from './api-client.ts';
import { listEveryRoute } from './every-route.ts';
import { OwnSystem } from './own-system.ts';
import { isRunning, signalTree, startProgram } from './processes.ts';

/** In which the API says that it can not do something (ms). */
const ANSWER_LIMIT_MS = 5_000;
/** In which deliveries go on after an outage (ms): a hint that got lost is found again after 5 to 10 s. */
const RESUME_LIMIT_MS = 20_000;
const TEST_LIMIT_MS = 120_000;
const SETUP_LIMIT_MS = 120_000;

let system: OwnSystem;
let api: ApiClient;

beforeAll(async () => {
  system = await OwnSystem.start({
    describeStack: async () => ({ ephemeral: true, env: { LOG_LEVEL: 'fatal' } }),
  });
  api = new ApiClient(system.stack.apiUrls);
}, SETUP_LIMIT_MS);

afterAll(() => system?.stop(), SETUP_LIMIT_MS);

/** Creates a timer that is due after `ms`, and returns its id. */
async function createTimer(ms: number): Promise<string> {
  const dueAt = new Date(Date.now() + ms).toISOString();
  const timer = { dueAt, action: { type: 'http', url: system.receiver.url } };
  return (await api.expect<Timer>([201], 'POST', '/v1/timers', timer)).id;
}

function countDelivered(ids: Iterable<string>): number {
  const wanted = new Set(ids);
  return new Set(
    system.receiver.requests.map(({ headers }) => String(headers['webhook-id'])).filter((id) => wanted.has(id)),
  ).size;
}

async function waitForDeliveries(ids: readonly string[], limitMs = RESUME_LIMIT_MS): Promise<void> {
  await waitUntil(`${ids.length} timers are delivered`, () => countDelivered(ids) === ids.length, limitMs);
}

/** The answers of every service to one of the questions about its health. */
async function askAll(question: '' | '/live' | '/ready'): Promise<Record<string, string>> {
  const answers = await Promise.all(
    system.stack.processes.map(async ({ name, url }) => {
      const { status, body } = await send<{ status: string }>(`${url}/v1/health${question}`);
      return [name.split('-')[0]!, `${status} ${body.status}`];
    }),
  );
  return Object.fromEntries(answers);
}

const all = (answer: string) => ({ api: answer, scheduler: answer, worker: answer });

async function waitForHealth(answer: string): Promise<void> {
  const isSo = async () => Object.values(await askAll('')).every((found) => found === answer);
  await waitUntil(`every service's health is ${answer}`, isSo, RESUME_LIMIT_MS);
}

/** Sends a request to every route at once; says which did not answer as they must while Postgres is away. */
async function findWrongRefusals(headers: Record<string, string> = {}): Promise<string[]> {
  const routes = await listEveryRoute(system.stack.apiUrls[0]!);
  expect(routes.length).toBeGreaterThan(30);
  const faults = await Promise.all(
    routes.map(async ({ name, method, path, body }) => {
      const sentAt = performance.now();
      // Not by the client, which sends again what is answered 503 while faults are injected.
      const answer = await send<Problem>(system.stack.apiUrls[0] + path, method, body, headers);
      const ms = Math.round(performance.now() - sentAt);
      if (name === 'POST /v1/delays/preview') return answer.status === 200 ? [] : [`${name}: ${answer.status}`];
      // A token that proves nothing is refused without a question, but for that whether the key was used.
      const isByToken = name.startsWith('POST /v1/tasks/') && !('idempotency-key' in headers);
      if (isByToken) return answer.status < 500 ? [] : [`${name}: ${answer.status}`];
      const isRight =
        answer.status === 503 &&
        answer.body.code === 'database_unavailable' &&
        Number(answer.headers.get('retry-after')) >= 1 &&
        ms < ANSWER_LIMIT_MS;
      return isRight ? [] : [`${name}: ${answer.status} ${answer.body.code} after ${ms} ms`];
    }),
  );
  return faults.flat();
}

describe('while Postgres is away', () => {
  it(
    'and hangs, every route answers 503 in time, services are live but not ready, and then everything resumes',
    async () => {
      const [before, during] = [await createTimer(0), await createTimer(3_000)];
      await waitForDeliveries([before]);
      // Its attempt is under way when Postgres stops, and ends while there is nobody to tell.
      system.receiver.answer = () => ({ delayMs: 1_000 });
      const underWay = await createTimer(0);
      await waitForDeliveries([underWay]);
      system.receiver.answer = () => ({});
      const frozen = signalTree(system.postgres.pid, 'SIGSTOP');
      try {
        expect(await findWrongRefusals()).toEqual([]);
        // Once more, when the pools have given up the connections that hang, and by way of the idempotent ones' transactions.
        expect(await findWrongRefusals({ 'idempotency-key': 'while-it-hangs' })).toEqual([]);
        expect(await askAll('/live')).toEqual(all('200 ok'));
        expect(await askAll('/ready')).toEqual(all('503 down'));
        expect(await askAll('')).toEqual(all('503 down'));
        expect(countDelivered([during])).toBe(0);
      } finally {
        for (const pid of frozen) if (isRunning(pid)) process.kill(pid, 'SIGCONT');
      }
      await waitForHealth('200 ok');
      await waitForDeliveries([during, await createTimer(0)]);
      const isRecorded = async () =>
        (await api.expect<Timer>([200], 'GET', `/v1/timers/${underWay}`)).status === 'succeeded';
      await waitUntil('the outcome of the attempt that was under way is recorded', isRecorded, RESUME_LIMIT_MS);
      expect(system.receiver.requests.filter(({ headers }) => headers['webhook-id'] === underWay)).toHaveLength(1);
    },
    TEST_LIMIT_MS,
  );

  it(
    'and down, every route answers 503 in time, services are live but not ready, and then everything resumes',
    async () => {
      const during = await createTimer(2_000);
      await system.postgres.stop();
      try {
        expect(await findWrongRefusals()).toEqual([]);
        expect(await askAll('/live')).toEqual(all('200 ok'));
        expect(await askAll('/ready')).toEqual(all('503 down'));
      } finally {
        await system.startPostgres();
      }
      await waitForHealth('200 ok');
      await waitForDeliveries([during, await createTimer(0)]);
    },
    TEST_LIMIT_MS,
  );

  it(
    'because it crashed in the midst of traffic, nothing that was acknowledged is lost',
    async () => {
      const acknowledged: string[] = [];
      const refusals = new Set<number>();
      let isOver = false;
      const create = async () => {
        while (!isOver) {
          const timer = {
            delay: { type: 'duration', value: 2, unit: 'seconds' },
            action: { type: 'http', url: system.receiver.url },
          };
          const { status, body } = await send<Timer>(`${system.stack.apiUrls[0]}/v1/timers`, 'POST', timer);
          if (status === 201) acknowledged.push(body.id);
          else refusals.add(status);
        }
      };
      const creating = Promise.all(Array.from({ length: 8 }, create));
      try {
        await waitUntil('deliveries are under way', () => countDelivered(acknowledged) > 100, RESUME_LIMIT_MS);
        const atCrash = acknowledged.length;
        for (const pid of signalTree(system.postgres.pid, 'SIGKILL'))
          await waitUntil('it is dead', () => !isRunning(pid));
        await system.postgres.exited;
        await system.startPostgres();
        await waitUntil('creating goes on', () => acknowledged.length > atCrash + 100, RESUME_LIMIT_MS);
      } finally {
        isOver = true;
        await creating;
      }
      expect([...refusals]).toEqual([503]);
      await waitForDeliveries(acknowledged);
      await waitForHealth('200 ok');
      const ledger = await api.expect<{ isBalanced: boolean }>([200], 'GET', '/v1/ledger');
      expect(ledger.isBalanced).toBe(true);
    },
    TEST_LIMIT_MS,
  );
});

describe('while Redis is away', () => {
  it(
    'everything but deliveries goes on, health says degraded, and an empty Redis is all it takes to resume',
    async () => {
      const [cancelled, changed, ...waiting] = [
        await createTimer(60_000),
        await createTimer(60_000),
        await createTimer(2_000),
      ];
      signalTree(system.redis.pid, 'SIGKILL');
      await system.redis.exited;
      try {
        waiting.push(await createTimer(0), await createTimer(1_000));
        const dueAt = new Date().toISOString();
        await api.expect([200], 'PATCH', `/v1/timers/${changed}`, { dueAt });
        await api.expect([200], 'POST', `/v1/timers/${cancelled}/cancel`, {});
        expect((await api.expect<Timer>([200], 'GET', `/v1/timers/${changed}`)).dueAt).toBe(dueAt);
        const workflow = { name: 'w', tasks: [{ key: 'a', action: { type: 'http', url: system.receiver.url } }] };
        const { id: workflowId } = await api.expect<{ id: string }>([201], 'POST', '/v1/workflows', workflow);
        const run = await api.expect<{ tasks: { timerId: string }[] }>([201], 'POST', '/v1/runs', { workflowId });
        waiting.push(changed!, run.tasks[0]!.timerId);
        await waitForHealth('200 degraded');
        expect(await askAll('/live')).toEqual(all('200 ok'));
        expect(await askAll('/ready')).toEqual(all('200 degraded'));
        const isOverdue = async () =>
          (await api.list<Timer>('/v1/timers', { dueBefore: new Date().toISOString(), status: 'scheduled' })).length;
        await waitUntil('all of them are overdue', async () => (await isOverdue()) >= waiting.length);
        expect(countDelivered(waiting)).toBe(0);
      } finally {
        await system.startRedis();
      }
      await waitForDeliveries(waiting);
      await waitForHealth('200 ok');
      expect(countDelivered([cancelled!])).toBe(0);
      await waitForDeliveries([await createTimer(0)], ANSWER_LIMIT_MS);
    },
    TEST_LIMIT_MS,
  );

  it(
    'or forgets everything, hints that waited in it included, deliveries are made all the same',
    async () => {
      const worker = system.stack.processes.find(({ name }) => name.startsWith('worker'))!;
      worker.kill('SIGSTOP');
      const ids: string[] = [];
      try {
        for (let count = 0; count < 50; count += 1) ids.push(await createTimer(0));
        const countWaiting = async () => {
          const { data } = await api.expect<{ data: { waiting: number; active: number }[] }>(
            [200],
            'GET',
            '/v1/queues',
          );
          return data.reduce((sum, { waiting, active }) => sum + waiting + active, 0);
        };
        await waitUntil('hints wait in Redis', async () => (await countWaiting()) > 0);
        await emptyRedis(system.redis.url);
      } finally {
        worker.kill('SIGCONT');
      }
      await waitForDeliveries(ids);
    },
    TEST_LIMIT_MS,
  );
});

describe('a service that is started while', () => {
  const environment = () => ({
    DATABASE_URL: system.postgres.url,
    REDIS_URL: system.redis.url,
    HOST: '127.0.0.1',
    AUTH: 'off',
  });

  it.each(['api', 'scheduler', 'worker'])(
    'Postgres is away says so in one sentence and ends with code 1: %s',
    async (kind) => {
      const port = await findFreePort();
      const entry = join(import.meta.dirname, `../../services/${kind}-service/main.ts`);
      const DATABASE_URL = `postgres://punctual@127.0.0.1:${port}/punctual`;
      const program = startProgram(entry, [], { ...environment(), DATABASE_URL, PORT: String(await findFreePort()) });
      try {
        await waitUntil('it has ended', () => program.hasExited(), RESUME_LIMIT_MS);
      } finally {
        program.kill('SIGKILL');
      }
      expect(await program.exited).toEqual({ code: 1, signal: null });
      expect(program.stderr.trimEnd().split('\n')).toHaveLength(1);
      expect(program.stderr).toMatch(/Postgres can not be reached.*DATABASE_URL/);
    },
    TEST_LIMIT_MS,
  );

  it.each(['api', 'scheduler', 'worker'])(
    'Redis is away waits for it, ready and degraded, and works when it is there: %s',
    async (kind) => {
      const [port, redisPortOfItsOwn] = [await findFreePort(), await findFreePort()];
      const entry = join(import.meta.dirname, `../../services/${kind}-service/main.ts`);
      const REDIS_URL = `redis://127.0.0.1:${redisPortOfItsOwn}`;
      const program = startProgram(entry, [], { ...environment(), REDIS_URL, PORT: String(port), LOG_LEVEL: 'fatal' });
      const askHealth = async () => {
        const answer = await send<{ status: string }>(`http://127.0.0.1:${port}/v1/health`).catch(() => undefined);
        return answer && `${answer.status} ${answer.body.status}`;
      };
      let itsOwn: RunningRedis | undefined;
      try {
        await waitUntil('it is degraded', async () => (await askHealth()) === '200 degraded', RESUME_LIMIT_MS);
        expect((await send(`http://127.0.0.1:${port}/v1/health/ready`)).status).toBe(200);
        itsOwn = await startRedis({ ephemeral: true, port: redisPortOfItsOwn, log: () => {} });
        await waitUntil('it is well', async () => (await askHealth()) === '200 ok', RESUME_LIMIT_MS);
      } finally {
        program.kill('SIGTERM');
        await program.exited;
        await itsOwn?.stop();
      }
    },
    TEST_LIMIT_MS,
  );
});
