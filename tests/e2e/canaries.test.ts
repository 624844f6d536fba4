import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  findFreePort,
  type RunningPostgres,
  type RunningRedis,
  type RunningStack,
  startPostgres,
  startRedis,
  startStack,
} from '@punctual/local-servers';
import { type Receiver, startReceiver, waitUntil } from '@punctual/testkit';
import { Redis } from 'ioredis';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, send } from './api-client.ts';
import { dumpPostgres, dumpRedis, type Haystack, readFolder } from './canaries/haystacks.ts';
import { type Canary, findCanaries, spell } from './canaries/spellings.ts';
import { isRunning, signalTree } from './processes.ts';

const SETUP_LIMIT_MS = 120_000;
const TEST_LIMIT_MS = 180_000;
const RESUME_LIMIT_MS = 30_000;

const encode = (text: string) => Buffer.from(text).toString('base64');
const BOOTSTRAP_KEY = 'canary-bootstrap-key-Zq81';
const DATABASE_PASSWORD = 'canary-database-password-Wb47';
const HEADER = 'Bearer canary-header-value-Lm52';
const OTHER_HEADER = 'canary-other-header-Tx09';
const PAYLOAD = 'canary-payload-Gh63';
const SIGNING_SECRET = `whsec_${encode('canary-signing-secret-Rv30-0001')}`;
const NEXT_SIGNING_SECRET = `whsec_${encode('canary-signing-secret-Rv30-0002')}`;
const ENCRYPTION_KEY = encode('canary-encryption-key-Dk74-00001');

/** API keys join them when they are made. */
const canaries: Canary[] = [
  { name: 'bootstrap key', text: BOOTSTRAP_KEY },
  { name: 'database password', text: DATABASE_PASSWORD },
  { name: 'header', text: HEADER },
  { name: 'header without its scheme', text: HEADER.slice('Bearer '.length) },
  { name: 'other header', text: OTHER_HEADER },
  { name: 'signing secret', text: SIGNING_SECRET },
  { name: 'next signing secret', text: NEXT_SIGNING_SECRET },
  { name: 'encryption key', text: ENCRYPTION_KEY },
  { name: 'encryption key, its bytes', text: Buffer.from(ENCRYPTION_KEY, 'base64').toString() },
  { name: 'payload', text: PAYLOAD, isPayload: true },
];
const secrets = () => canaries.filter(({ isPayload }) => !isPayload);

let folder: string;
let postgresPort: number;
let redisPort: number;
let postgres: RunningPostgres;
let redis: RunningRedis;
let databaseUrl: string;
let stack: RunningStack;
let receiver: Receiver;
/** What was answered, but for the answers in which a secret is shown once. */
const answers: Haystack[] = [];
const redisDumps: Haystack[] = [];
const serverLogs: string[] = [];

const openPostgres = () =>
  startPostgres({
    dataDir: join(folder, 'postgres'),
    port: postgresPort,
    log: (line) => serverLogs.push(line),
  });
const openRedis = () => startRedis({ ephemeral: true, port: redisPort, log: (line) => serverLogs.push(line) });

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'punctual-canaries-'));
  [postgresPort, redisPort] = [await findFreePort(), await findFreePort()];
  [postgres, redis, receiver] = await Promise.all([openPostgres(), openRedis(), startReceiver()]);
  const client = new pg.Client({ connectionString: postgres.url });
  await client.connect();
  await client.query(`CREATE ROLE canary LOGIN SUPERUSER PASSWORD '${DATABASE_PASSWORD}'`);
  await client.end();
  const url = new URL(postgres.url);
  url.username = 'canary';
  url.password = DATABASE_PASSWORD;
  databaseUrl = url.toString();
  stack = await startStack({
    folder: join(folder, 'stack'),
    databaseUrl,
    redisUrl: redis.url,
    env: {
      LOG_LEVEL: 'trace',
      AUTH: 'on',
      BOOTSTRAP_API_KEY: BOOTSTRAP_KEY,
      ENCRYPTION_KEYS: `canary:${ENCRYPTION_KEY}`,
    },
    log: () => {},
  });
}, SETUP_LIMIT_MS);

afterAll(async () => {
  await stack?.stop();
  await Promise.all([postgres?.stop(), redis?.stop(), receiver?.close()]);
  rmSync(folder, { recursive: true, force: true });
}, SETUP_LIMIT_MS);

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
  const url = `${stack.apiUrls[0]}${path}`;
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

const headers = { authorization: HEADER, 'X-Api-Key': OTHER_HEADER };
const action = (path: string) => ({
  type: 'http',
  url: `${receiver.url}${path}`,
  headers,
  body: { [PAYLOAD]: PAYLOAD },
});
const retry = { maxRetries: 1, backoff: { initialMs: 10, maxMs: 20 } };
const timer = (path: string, fields: object = {}) => ({
  action: action(path),
  payload: { canary: PAYLOAD },
  labels: { canary: 'label' },
  retry,
  ...fields,
});

async function waitForHealth(): Promise<void> {
  const isWell = async () => {
    const found = await Promise.all(stack.processes.map(({ url }) => send<Body>(`${url}/v1/health`)));
    return found.every(({ body }) => body.status === 'ok');
  };
  await waitUntil('every service is well', isWell, RESUME_LIMIT_MS);
}

const readServiceLogs = (): Haystack[] => readFolder(join(folder, 'stack/logs'));
const readMetrics = async (): Promise<Haystack[]> =>
  Promise.all(
    stack.processes.map(async ({ name, url }): Promise<Haystack> => {
      const { body } = await send<string>(`${url}/metrics`);
      return [`metrics of ${name}`, Buffer.from(body)];
    }),
  );
const readHealth = async (): Promise<Haystack[]> =>
  Promise.all(
    stack.processes.map(async ({ name, url }): Promise<Haystack> => {
      const { body } = await send(`${url}/v1/health`);
      return [`health of ${name}`, Buffer.from(JSON.stringify(body))];
    }),
  );

let key: string;

describe('secrets go through everything the service does', () => {
  it(
    'creating, changing, delivering, retries, dead letters, rotation, and refusals of all kinds',
    async () => {
      receiver.answer = ({ path }) => ({ status: path === '/fails' ? 500 : 200, body: path });
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
      const masked = { ...action('/again'), headers: { authorization: '********', 'x-api-key': '********' } };
      await get('PATCH', `/v1/timers/${waiting.id}`, { action: masked }, own);
      await get('POST', '/v1/timers/batch', { timers: [timer('/works'), timer('/fails')] }, own);
      const tasks = [
        { key: 'a', action: action('/works') },
        { key: 'b', after: ['a'], action: action('/fails'), retry },
      ];
      const workflow = await get('POST', '/v1/workflows', { name: 'w', tasks }, own);
      await get('PUT', `/v1/workflows/${workflow.id}`, { name: 'w', tasks }, own);
      const run = await get('POST', '/v1/runs', { workflowId: workflow.id, input: PAYLOAD }, own);
      const hasStatus = async (path: string, status: string) =>
        (await get('GET', path, undefined, own)).status === status;
      await waitUntil('one is delivered', () => hasStatus(`/v1/timers/${delivered.id}`, 'succeeded'), RESUME_LIMIT_MS);
      await waitUntil('one is dead', () => hasStatus(`/v1/timers/${dying.id}`, 'dead'), RESUME_LIMIT_MS);
      await waitUntil('the run failed', () => hasStatus(`/v1/runs/${run.id}`, 'failed'), RESUME_LIMIT_MS);
      const [request] = receiver.requests;
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
      await sendWrongRequests(own, tenant.id, waiting.id);
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
        const delivered = receiver.requests.length;
        await waitUntil('deliveries are under way', () => receiver.requests.length > delivered + 20, RESUME_LIMIT_MS);
        for (const pid of signalTree(postgres.pid, 'SIGKILL')) await waitUntil('it is dead', () => !isRunning(pid));
        await postgres.exited;
        const refused = () => answers.filter(([name]) => name.startsWith('refusal 503')).length;
        await waitUntil('requests are refused', () => refused() > 10, RESUME_LIMIT_MS);
        postgres = await openPostgres();
        await waitForHealth();
        signalTree(redis.pid, 'SIGKILL');
        await redis.exited;
        const degraded = async () => (await send<Body>(`${stack.apiUrls[0]}/v1/health`)).body.status === 'degraded';
        await waitUntil('Redis is missed', degraded, RESUME_LIMIT_MS);
        redis = await openRedis();
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
      const worker = stack.processes.find(({ name }) => name.startsWith('worker'))!;
      worker.kill('SIGSTOP');
      try {
        for (let count = 0; count < 20; count += 1) await get('POST', '/v1/timers', timer('/works'), { key });
        const { id } = await get('POST', '/v1/timers', timer('/works'), { key });
        await waitUntil('its hint waits', async () => {
          const dump = await dumpRedis(redis.url);
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

/** Requests with canaries in places where they are refused. */
async function sendWrongRequests(own: { key: string }, tenantId: string, timerId: string): Promise<void> {
  const wrong: [string, string, unknown][] = [
    [
      'POST',
      '/v1/timers',
      { ...timer('/works'), action: { ...action('/'), headers: { authorization: `${HEADER}é` } } },
    ],
    ['POST', '/v1/timers', { ...timer('/works'), action: { ...action('/'), url: `http://10.0.0.1/${PAYLOAD}` } }],
    ['POST', '/v1/timers', { ...timer('/works'), action: { ...action('/'), method: HEADER } }],
    ['POST', '/v1/timers', { ...timer('/works'), action: HEADER }],
    ['POST', '/v1/timers', { ...timer('/works'), delay: { type: 'duration', value: HEADER, unit: PAYLOAD } }],
    ['POST', '/v1/timers', { ...timer('/works'), timeZone: PAYLOAD }],
    ['POST', '/v1/timers', { ...timer('/works'), payload: PAYLOAD.repeat(5_000) }],
    ['POST', '/v1/timers', { ...timer('/works'), action: { ...action('/'), headers: { cookie: HEADER.repeat(400) } } }],
    ['PATCH', `/v1/timers/${timerId}`, { action: { ...action('/'), headers: { authorization: 7, cookie: HEADER } } }],
    ['PATCH', `/v1/timers/${timerId}`, { version: 99, payload: PAYLOAD }],
    ['POST', '/v1/workflows', { name: 'w', tasks: [{ key: HEADER, action: action('/') }] }],
    ['POST', '/v1/runs', { workflowId: PAYLOAD, input: HEADER }],
    ['POST', '/v1/tenants', { name: 'x', signingSecret: `${SIGNING_SECRET}!` }],
    ['POST', `/v1/tenants/${tenantId}/signing-secrets`, { signingSecret: `${SIGNING_SECRET.slice(0, -2)}` }],
    ['POST', '/v1/api-keys', { name: 'k', scope: own.key }],
    ['GET', `/v1/timers?cursor=${own.key}&taskKey=${PAYLOAD}`, undefined],
    ['GET', `/v1/timers/${encodeURIComponent(HEADER)}`, undefined],
  ];
  for (const [method, path, body] of wrong) await ask(method, path, body, own);
  await ask('POST', '/v1/timers', undefined, { ...own, text: `{"payload":"${PAYLOAD}","action":${HEADER}` });
  await ask('POST', '/v1/timers', timer('/'), { key: `${key}x` });
  await ask('POST', '/v1/timers', timer('/'), { key: BOOTSTRAP_KEY.slice(1) });
  await ask('POST', '/v1/timers', timer('/'));
}

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
    const disk = readFolder(join(folder, 'postgres/cluster'));
    expect(findCanaries(payload, disk).length).toBeGreaterThan(0);
    expect(findCanaries(secrets(), disk)).toEqual([]);
  }, 120_000);

  it('in Redis', async () => {
    redisDumps.push(...(await dumpRedis(redis.url)));
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

describe('the search finds a canary', () => {
  const CANARY = { name: 'planted', text: 'planted-canary/+Qx?' };
  const find = (places: Haystack[]) => findCanaries([CANARY], places).map(({ how }) => how);

  it.each(spell(CANARY.text).map(({ how, bytes }) => [how, bytes] as const))('in every spelling: %s', (_how, bytes) => {
    expect(find([['a file', Buffer.concat([Buffer.from('before '), bytes, Buffer.from(' after')])]])).toHaveLength(1);
  });

  it('in base64 of something larger, wherever it stands in it', () => {
    for (const before of ['', 'a', 'ab', 'abc', 'abcd']) {
      for (const encoding of ['base64', 'base64url'] as const) {
        const text = Buffer.from(`${before}${CANARY.text}xyz`).toString(encoding);
        expect(find([['a row', Buffer.from(text)]]), `${encoding} after ${before}`).toHaveLength(1);
      }
    }
  });

  it('of a signing secret in its key alone', () => {
    const secret = { name: 'secret', text: SIGNING_SECRET };
    const bytes = Buffer.from(SIGNING_SECRET.slice('whsec_'.length), 'base64');
    expect(findCanaries([secret], [['bytea', Buffer.from(bytes.toString('hex'))]])).toHaveLength(1);
    expect(findCanaries([secret], [['page', bytes]])).toHaveLength(1);
  });

  it('in a table: as text, as JSON, as bytes', async () => {
    const client = new pg.Client({ connectionString: databaseUrl });
    await client.connect();
    try {
      for (const [type, value] of [
        ['text', CANARY.text],
        ['jsonb', JSON.stringify({ deep: [CANARY.text] })],
        ['bytea', Buffer.from(CANARY.text)],
        ['text[]', [CANARY.text]],
      ] as const) {
        await client.query(`CREATE TABLE planted (value ${type})`);
        await client.query('INSERT INTO planted VALUES ($1)', [value]);
        expect(findCanaries([CANARY], await dumpPostgres(databaseUrl)), type).toMatchObject([
          { place: 'table public.planted' },
        ]);
        await client.query('DROP TABLE planted');
      }
    } finally {
      await client.end();
    }
  });

  it('in Redis, in a key and in each type of value', async () => {
    const client = new Redis(redis.url);
    try {
      await client.set('planted:string', CANARY.text);
      await client.hset('planted:hash', 'field', JSON.stringify({ of: CANARY.text }));
      await client.hset('planted:field', CANARY.text, '1');
      await client.rpush('planted:list', CANARY.text);
      await client.sadd('planted:set', CANARY.text);
      await client.zadd('planted:zset', 1, CANARY.text);
      await client.xadd('planted:stream', '*', 'field', CANARY.text);
      await client.set(`planted:${CANARY.text}`, '1');
      const places = findCanaries([CANARY], await dumpRedis(redis.url)).map(({ place }) => place.split(' ')[1]);
      expect(places.toSorted()).toEqual(
        ['string', 'hash', 'field', 'list', 'set', 'zset', 'stream', CANARY.text]
          .map((name) => `planted:${name}`)
          .toSorted(),
      );
    } finally {
      await client.unlink(...(await client.keys('planted:*')));
      await client.quit();
    }
  });

  it('in a log', () => {
    appendFileSync(join(folder, 'stack/logs/api-1.log'), `{"planted":"${CANARY.text}"}\n`);
    expect(findCanaries([CANARY], readServiceLogs())).toMatchObject([{ place: expect.stringContaining('api-1.log') }]);
  });
});
