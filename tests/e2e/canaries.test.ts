import { join } from 'node:path';
import { waitUntil } from '@punctual/testkit';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, send } from './api-client.ts';
import { dumpPostgres, dumpRedis, type Haystack, readFolder } from './canaries/haystacks.ts';
import { listWrongRequests, makeAction, makeTimer, RETRY } from './canaries/requests.ts';
import {
  BOOTSTRAP_KEY,
  canaries,
  DATABASE_PASSWORD,
  ENCRYPTION_KEY,
  HEADER,
  NEXT_SIGNING_SECRET,
  OTHER_HEADER,
  PAYLOAD,
  SIGNING_SECRET,
} from './canaries/secrets.ts';
import { findCanaries } from './canaries/spellings.ts';
import { OwnSystem } from './own-system.ts';
import { isRunning, signalTree } from './processes.ts';

const SETUP_LIMIT_MS = 120_000;
const TEST_LIMIT_MS = 180_000;
const RESUME_LIMIT_MS = 30_000;

const secrets = () => canaries.filter(({ isPayload }) => !isPayload);

let system: OwnSystem;
let databaseUrl: string;
/** What was answered, but for the answers in which a secret is shown once. */
const answers: Haystack[] = [];
const redisDumps: Haystack[] = [];
const serverLogs: string[] = [];

beforeAll(async () => {
  system = await OwnSystem.start({
    log: (line) => serverLogs.push(line),
    async describeStack({ folder, postgres }) {
      const client = new pg.Client({ connectionString: postgres.url });
      await client.connect();
      await client.query(`CREATE ROLE canary LOGIN SUPERUSER PASSWORD '${DATABASE_PASSWORD}'`);
      await client.end();
      const url = new URL(postgres.url);
      url.username = 'canary';
      url.password = DATABASE_PASSWORD;
      databaseUrl = url.toString();
      return {
        folder: join(folder, 'stack'),
        databaseUrl,
        env: {
          LOG_LEVEL: 'trace',
          AUTH: 'on',
          BOOTSTRAP_API_KEY: BOOTSTRAP_KEY,
          ENCRYPTION_KEYS: `canary:${ENCRYPTION_KEY}`,
        },
      };
    },
  });
}, SETUP_LIMIT_MS);

afterAll(() => system?.stop(), SETUP_LIMIT_MS);

interface Body {
  id: string;
  key?: string;
  status: string;
  data: { id: string }[];
}

/** Sends a request and keeps its answer for the search; `isShown`: its answer shows a secret, as it is meant to. */
async function ask(
  method: string,
  path: string,
  body?: unknown,
  options: { key?: string | undefined; isShown?: boolean; text?: string } = {},
): Promise<Answer<Body>> {
  const headers: Record<string, string> = options.key === undefined ? {} : { authorization: `Bearer ${options.key}` };
  const url = `${system.stack.apiUrls[0]}${path}`;
  let answer: Answer<Body>;
  if (options.text === undefined) {
    answer = await send<Body>(url, method, body, headers);
  } else {
    const response = await fetch(url, {
      method,
      headers: { ...headers, 'content-type': 'application/json' },
      body: options.text,
    });
    answer = {
      status: response.status,
      headers: response.headers,
      body: (await response.json()) as Body,
      at: Date.now(),
    };
  }
  if (!options.isShown) {
    const kind = answer.status >= 400 ? 'refusal' : 'answer';
    const text = JSON.stringify([[...answer.headers], answer.body]);
    answers.push([`${kind} ${answer.status} to ${method} ${path}`, Buffer.from(text)]);
  }
  return answer;
}

/** The same, for what must succeed. */
async function get(method: string, path: string, body?: unknown, options: Parameters<typeof ask>[3] = {}) {
  const answer = await ask(method, path, body, options);
  if (answer.status >= 300) throw new Error(`${method} ${path} was answered ${answer.status}`);
  return answer.body;
}

const action = (path: string) => makeAction(`${system.receiver.url}${path}`);
const timer = (path: string, fields: object = {}) => makeTimer(`${system.receiver.url}${path}`, fields);

async function waitForHealth(): Promise<void> {
  const isWell = async () => {
    const found = await Promise.all(system.stack.processes.map(({ url }) => send<Body>(`${url}/v1/health`)));
    return found.every(({ body }) => body.status === 'ok');
  };
  await waitUntil('every service is well', isWell, RESUME_LIMIT_MS);
}

const readServiceLogs = (): Haystack[] => readFolder(join(system.folder, 'stack/logs'));
const readMetrics = async (): Promise<Haystack[]> =>
  Promise.all(
    system.stack.processes.map(async ({ name, url }): Promise<Haystack> => {
      const { body } = await send<string>(`${url}/metrics`);
      return [`metrics of ${name}`, Buffer.from(body)];
    }),
  );
const readHealth = async (): Promise<Haystack[]> =>
  Promise.all(
    system.stack.processes.map(async ({ name, url }): Promise<Haystack> => {
      const { body } = await send(`${url}/v1/health`);
      return [`health of ${name}`, Buffer.from(JSON.stringify(body))];
    }),
  );

let key: string;

describe('secrets go through everything the service does', () => {
  it(
    'creating, changing, delivering, retries, dead letters, rotation, and refusals of all kinds',
    async () => {
      system.receiver.answer = ({ path }) => ({ status: path === '/fails' ? 500 : 200, body: path });
      const operator = { key: BOOTSTRAP_KEY };
      const shown = { ...operator, isShown: true };
      const tenant = await get('POST', '/v1/tenants', { name: 'canary', signingSecret: SIGNING_SECRET }, shown);
      const made = await get('POST', '/v1/api-keys', { name: 'c', scope: 'admin', tenantId: tenant.id }, shown);
      const revoked = await get('POST', '/v1/api-keys', { name: 'r', scope: 'read', tenantId: tenant.id }, shown);
      key = made.key!;
      canaries.push({ name: 'API key', text: key }, { name: 'API key without its shown part', text: key.slice(11) });
      canaries.push({ name: 'revoked API key', text: revoked.key! });
      await get('DELETE', `/v1/api-keys/${revoked.id}`, undefined, operator);
      await ask('GET', '/v1/timers', undefined, { key: revoked.key });
      const own = { key };

      const delivered = await get('POST', '/v1/timers', timer('/works', { externalId: 'canary-1' }), own);
      const dying = await get('POST', '/v1/timers', timer('/fails'), own);
      const waiting = await get('POST', '/v1/timers', timer('/works', { dueAt: '2030-01-01T00:00:00Z' }), own);
      await get('PATCH', `/v1/timers/${waiting.id}`, { action: action('/elsewhere') }, own);
      const masked = { ...action('/elsewhere'), headers: { authorization: '********', 'x-api-key': '********' } };
      await get('PATCH', `/v1/timers/${waiting.id}`, { action: masked }, own);
      await get('POST', '/v1/timers/batch', { timers: [timer('/works'), timer('/fails')] }, own);
      const tasks = [
        { key: 'a', action: action('/works') },
        { key: 'b', after: ['a'], action: action('/fails'), retry: RETRY },
      ];
      const workflow = await get('POST', '/v1/workflows', { name: 'w', tasks }, own);
      await get('PUT', `/v1/workflows/${workflow.id}`, { name: 'w', tasks }, own);
      const run = await get('POST', '/v1/runs', { workflowId: workflow.id, input: PAYLOAD }, own);
      const hasStatus = async (path: string, status: string) =>
        (await get('GET', path, undefined, own)).status === status;
      await waitUntil('one is delivered', () => hasStatus(`/v1/timers/${delivered.id}`, 'succeeded'), RESUME_LIMIT_MS);
      await waitUntil('one is dead', () => hasStatus(`/v1/timers/${dying.id}`, 'dead'), RESUME_LIMIT_MS);
      await waitUntil('the run failed', () => hasStatus(`/v1/runs/${run.id}`, 'failed'), RESUME_LIMIT_MS);
      const [request] = system.receiver.requests;
      expect(request!.headers).toMatchObject({ authorization: HEADER, 'x-api-key': OTHER_HEADER });
      expect(request!.headers['webhook-signature']).toMatch(/^v1,/);
      await get('POST', `/v1/dead-letters/${dying.id}/redrive`, undefined, own);
      const rotation = { signingSecret: NEXT_SIGNING_SECRET, overlapSeconds: 60 };
      await get('POST', `/v1/tenants/${tenant.id}/signing-secrets`, rotation, { ...own, isShown: true });

      for (const path of [
        '/v1/timers?limit=200',
        '/v1/dead-letters',
        `/v1/timers/${dying.id}/attempts`,
        '/v1/workflows',
        `/v1/workflows/${workflow.id}/versions`,
        '/v1/runs',
        `/v1/tenants/${tenant.id}/signing-secrets`,
        '/v1/api-keys',
        '/v1/audit-log',
      ]) {
        await get('GET', path, undefined, own);
      }
      for (const path of [
        '/v1/tenants',
        '/v1/workers',
        '/v1/schedulers',
        '/v1/queues',
        '/v1/ledger',
        '/v1/audit-log',
      ]) {
        await get('GET', path, undefined, operator);
      }
      await get('GET', '/v1/openapi.json');
      const wrong = listWrongRequests(system.receiver.url, { key, tenantId: tenant.id, timerId: waiting.id });
      for (const { method, path, body, ...options } of wrong) await ask(method, path, body, options);
      for (const stranger of [`${key}x`, BOOTSTRAP_KEY.slice(1), undefined]) {
        await ask('POST', '/v1/timers', timer('/'), { key: stranger });
      }
      expect(answers.filter(([name]) => name.startsWith('refusal')).length).toBeGreaterThan(15);
    },
    TEST_LIMIT_MS,
  );

  it(
    'outages of Postgres and Redis in the midst of traffic, with everything logged',
    async () => {
      const create = () => ask('POST', '/v1/timers', timer('/works'), { key });
      let isOver = false;
      const creating = Promise.all(
        Array.from({ length: 4 }, async () => {
          while (!isOver) await create();
        }),
      );
      try {
        const delivered = system.receiver.requests.length;
        await waitUntil(
          'deliveries are under way',
          () => system.receiver.requests.length > delivered + 20,
          RESUME_LIMIT_MS,
        );
        for (const pid of signalTree(system.postgres.pid, 'SIGKILL'))
          await waitUntil('it is dead', () => !isRunning(pid));
        await system.postgres.exited;
        const refused = () => answers.filter(([name]) => name.startsWith('refusal 503')).length;
        await waitUntil('requests are refused', () => refused() > 10, RESUME_LIMIT_MS);
        await system.startPostgres();
        await waitForHealth();
        signalTree(system.redis.pid, 'SIGKILL');
        await system.redis.exited;
        const degraded = async () =>
          (await send<Body>(`${system.stack.apiUrls[0]}/v1/health`)).body.status === 'degraded';
        await waitUntil('Redis is missed', degraded, RESUME_LIMIT_MS);
        await system.startRedis();
        await waitForHealth();
      } finally {
        isOver = true;
        await creating;
      }
    },
    TEST_LIMIT_MS,
  );

  it(
    'hints that wait in Redis',
    async () => {
      const worker = system.stack.processes.find(({ name }) => name.startsWith('worker'))!;
      worker.kill('SIGSTOP');
      try {
        for (let count = 0; count < 20; count += 1) await get('POST', '/v1/timers', timer('/works'), { key });
        const { id } = await get('POST', '/v1/timers', timer('/works'), { key });
        await waitUntil('its hint waits', async () => {
          const dump = await dumpRedis(system.redis.url);
          redisDumps.push(...dump);
          return dump.some(([, bytes]) => bytes.includes(id));
        });
      } finally {
        worker.kill('SIGCONT');
      }
    },
    TEST_LIMIT_MS,
  );
});

describe('and afterwards no canary is found', () => {
  it('in any table, nor anywhere on the disk of Postgres', async () => {
    const tables = await dumpPostgres(databaseUrl);
    expect(findCanaries(secrets(), tables)).toEqual([]);
    // The search looks at what is there: payloads are.
    const payload = canaries.filter(({ isPayload }) => isPayload);
    const places = findCanaries(payload, tables).map(({ place }) => place.replace(/_\d{8}$/, ''));
    expect(places).toEqual(
      expect.arrayContaining(
        ['timers', 'finished_timers', 'workflow_versions', 'runs'].map((name) => `table public.${name}`),
      ),
    );
    const client = new pg.Client({ connectionString: databaseUrl });
    await client.connect();
    await client.query('CHECKPOINT');
    await client.end();
    const disk = readFolder(join(system.folder, 'postgres/cluster'));
    expect(findCanaries(payload, disk).length).toBeGreaterThan(0);
    expect(findCanaries(secrets(), disk)).toEqual([]);
  }, 120_000);

  it('in Redis', async () => {
    redisDumps.push(...(await dumpRedis(system.redis.url)));
    expect(redisDumps.length).toBeGreaterThan(5);
    expect(findCanaries(canaries, redisDumps)).toEqual([]);
  });

  it('in the logs of any service or server', () => {
    const logs = readServiceLogs();
    expect(logs.map(([name]) => name.split('/').at(-1)).toSorted()).toEqual(
      expect.arrayContaining(['api-1.log', 'scheduler-1.log', 'worker-1.log']),
    );
    const text = logs.map(([, bytes]) => bytes.toString()).join('\n');
    // They hold what outages leave: errors of both clients, with all their fields.
    expect(text).toMatch(/ECONNREFUSED/);
    expect(text).toMatch(/"stack_trace"/);
    logs.push(['logs of Postgres and Redis', Buffer.from(serverLogs.join('\n'))]);
    expect(findCanaries(canaries, logs)).toEqual([]);
  });

  it('in metrics and health', async () => {
    const metrics = await readMetrics();
    expect(metrics.map(([, bytes]) => bytes.toString()).join()).toContain('worker_attempts_total');
    expect(findCanaries(canaries, [...metrics, ...(await readHealth())])).toEqual([]);
  });

  it('in any refusal, nor a secret in any answer, the OpenAPI document included', () => {
    const refusals = answers.filter(([name]) => name.startsWith('refusal'));
    expect(findCanaries(canaries, refusals)).toEqual([]);
    expect(answers.some(([name]) => name.includes('openapi'))).toBe(true);
    expect(findCanaries(secrets(), answers)).toEqual([]);
  });
});
