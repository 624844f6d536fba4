import { randomBytes } from 'node:crypto';
import { type Database, finishTimers, type StartedTimer, startTimers } from '@punctual/database';
import { waitUntil } from '@punctual/testkit';
import { type Actor, type FuzzCase, POOL_SIZES, type PoolName, resolveIds } from './cases/case.ts';
import type { Exchange } from './exchange.ts';

const ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** After this no test is still running. */
const FAR = { type: 'duration', value: 365, unit: 'days' };
const TIMEOUT_MS = 60_000;
/** As an attempt may have gone whose timer is dead. */
const DEAD_OUTCOME = {
  state: 'dead',
  outcome: 'permanent',
  latenessMs: 1,
  durationMs: 2,
  httpStatus: 410,
  error: 'The endpoint answered 410.',
  responseBody: 'gone',
} as const;

export type Headers = readonly (readonly [string, string])[];

interface TenantOfWorld {
  id: string;
  keys: Record<'read' | 'write' | 'admin' | 'revoked', string>;
  pools: Record<PoolName, string[]>;
}

/**
 * Two tenants with something of everything. The first is the one whose keys are used; the second never does anything, so
 * whatever changes of it was changed by a stranger, and whatever is seen of it was seen by one.
 */
export interface World {
  own: TenantOfWorld;
  other: TenantOfWorld;
  /** Texts that stand in everything of the other tenant, and every key: nobody may see them. */
  secrets: readonly string[];
  operatorMaySee: ReadonlySet<string>;
  /** Puts ids in place of their names, and the key of the actor where the actor puts it. */
  resolve(request: FuzzCase): { request: FuzzCase; authorization: Headers };
  /**
   * Puts what the own tenant has just created in the place of something older: else there would soon be nothing left that
   * is not cancelled.
   */
  learn(request: FuzzCase, exchange: Exchange): void;
}

/** Where the id of what was created goes. */
const POOL_OF_PATH: Readonly<Record<string, PoolName>> = {
  '/v1/timers': 'timer',
  '/v1/workflows': 'workflow',
  '/v1/runs': 'run',
};

export interface WorldOptions {
  url: string;
  operatorKey: string;
  /** For what only a worker does. */
  database: Database;
}

export async function openWorld(options: WorldOptions): Promise<World> {
  const canary = `canary-${randomBytes(6).toString('hex')}`;
  const name = `stranger-${randomBytes(6).toString('hex')}`;
  const own = await createTenant(options, 'own', 'plain');
  const other = await createTenant(options, name, canary);
  const keys = [options.operatorKey, ...Object.values(own.keys), ...Object.values(other.keys)];
  const otherIds = [
    other.id,
    ...Object.values(other.pools)
      .flat()
      .filter((id) => ID.test(id)),
  ];
  return {
    own,
    other,
    secrets: [canary, name, ...keys, ...otherIds],
    operatorMaySee: new Set([name, ...otherIds]),
    resolve: (request) => resolve(request, own, other, options.operatorKey),
    learn: createLearning(own),
  };
}

function createLearning({ pools }: TenantOfWorld): World['learn'] {
  let count = 0;
  return ({ actor, target }, exchange) => {
    const pool = POOL_OF_PATH[target.replace(/[?#/]*$/, '')];
    const isOwn = actor === 'writer' || actor === 'admin';
    if (!pool || !isOwn || exchange.kind !== 'answer' || exchange.status !== 201) return;
    const { id } = JSON.parse(exchange.body) as { id: string };
    pools[pool][count % POOL_SIZES[pool]] = id;
    count += 1;
  };
}

function resolve(
  request: FuzzCase,
  own: TenantOfWorld,
  other: TenantOfWorld,
  operatorKey: string,
): { request: FuzzCase; authorization: Headers } {
  const put = (text: string) => resolveIds(text, (whose, pool, at) => ({ own, other })[whose].pools[pool][at] ?? '');
  const { body, actor } = request;
  const target = put(request.target);
  return {
    request: {
      ...request,
      target: actor === 'nobody with a key in the query' ? addToQuery(target, own.keys.admin) : target,
      headers: request.headers.map(([name, value]) => [name, put(value)] as const),
      body: body !== undefined && 'text' in body ? { text: put(body.text) } : body,
    },
    authorization: listAuthorization(actor, own.keys, operatorKey),
  };
}

function addToQuery(target: string, key: string): string {
  return `${target}${target.includes('?') ? '&' : '?'}access_token=${key}&api_key=${key}`;
}

function listAuthorization(actor: Actor, keys: TenantOfWorld['keys'], operatorKey: string): Headers {
  const bearer = (key: string): Headers => [['authorization', `Bearer ${key}`]];
  const { admin } = keys;
  switch (actor) {
    case 'operator':
      return bearer(operatorKey);
    case 'reader':
      return bearer(keys.read);
    case 'writer':
      return bearer(keys.write);
    case 'admin':
      return bearer(admin);
    case 'nobody with an empty key':
      return bearer('');
    case 'nobody with a guess':
      return bearer(`pk_${'x'.repeat(43)}`);
    case 'nobody with a revoked key':
      return bearer(keys.revoked);
    case 'nobody with half a key':
      return bearer(admin.slice(0, admin.length / 2));
    case 'nobody with a longer key':
      return bearer(`${admin}A`);
    case 'nobody with a key in other case':
      return bearer(swapCase(admin));
    case 'nobody with a key by another scheme':
      return [['authorization', `Basic ${admin}`]];
    case 'nobody with a key in another header':
      return [
        ['x-api-key', admin],
        ['x-authorization', `Bearer ${admin}`],
        ['cookie', `authorization=Bearer ${admin}`],
      ];
    default:
      return [];
  }
}

function swapCase(text: string): string {
  return text.replaceAll(/[a-z]/gi, (letter) =>
    letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase(),
  );
}

type Send = (key: string, method: string, path: string, body?: object) => Promise<Record<string, unknown>>;

function createSend(url: string): Send {
  return async (key, method, path, body) => {
    const response = await fetch(url + path, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body && { 'content-type': 'application/json', 'idempotency-key': randomBytes(8).toString('hex') }),
      },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path} was answered ${response.status}: ${text}`);
    return JSON.parse(text) as Record<string, unknown>;
  };
}

async function createTenant(options: WorldOptions, name: string, canary: string): Promise<TenantOfWorld> {
  const send = createSend(options.url);
  const { operatorKey, database } = options;
  const { id: tenantId } = await send(operatorKey, 'POST', '/v1/tenants', { name, signingSecret: 'generate' });
  const createKey = (scope: string) =>
    send(operatorKey, 'POST', '/v1/api-keys', { name, scope, tenantId }) as Promise<{ id: string; key: string }>;
  const [read, write, admin, revoked] = await Promise.all(['read', 'write', 'admin', 'admin'].map(createKey));
  await send(operatorKey, 'DELETE', `/v1/api-keys/${revoked!.id}`);
  const spares = await Promise.all(Array.from({ length: POOL_SIZES.key }, () => createKey('read')));

  const make = async (path: string, body: object) => (await send(write!.key, 'POST', path, body)).id as string;
  const action = { type: 'http', url: `https://example.com/${canary}`, headers: { 'x-own': canary }, body: { canary } };
  const timerFields = { action, payload: { canary }, labels: { canary } };
  const createTimer = (fields: object) => make('/v1/timers', { ...timerFields, ...fields });
  const count = (pool: PoolName) => Array.from({ length: POOL_SIZES[pool] }, (_, index) => index);

  const timers: string[] = [];
  for (const index of count('timer')) {
    // The last four are begun below, or have ended.
    const isFar = index < POOL_SIZES.timer - 4;
    timers.push(await createTimer({ externalId: `${canary}-${index}`, ...(isFar && { delay: FAR }) }));
  }
  await startTimer(database, timers.at(-1)!);
  await startTimer(database, timers.at(-2)!);
  await finish(database, await startTimer(database, timers.at(-3)!), 'succeeded');
  await send(write!.key, 'POST', `/v1/timers/${timers.at(-4)}/cancel`, {});
  const deadLetters: string[] = [];
  for (const _ of count('deadLetter')) {
    const id = await createTimer({});
    await finish(database, await startTimer(database, id), 'dead');
    deadLetters.push(id);
  }

  const tasks = [
    { key: 'a', action, delay: FAR },
    { key: 'b', after: ['a'], action },
  ];
  const workflows: string[] = [];
  for (const _ of count('workflow'))
    workflows.push(await make('/v1/workflows', { name: canary, tasks, labels: { canary } }));
  const runs: string[] = [];
  for (const index of count('run')) {
    runs.push(
      await make('/v1/runs', { workflowId: workflows[0], input: { canary }, externalId: `${canary}-${index}` }),
    );
  }
  await send(write!.key, 'POST', `/v1/runs/${runs.at(-1)}/cancel`, {});
  await send(write!.key, 'DELETE', `/v1/workflows/${workflows.at(-1)}`);
  const lists = ['/v1/timers', '/v1/runs', '/v1/workflows', '/v1/dead-letters'];
  const cursors = await Promise.all(
    lists.map(async (path) => (await send(read!.key, 'GET', `${path}?limit=2`)).nextCursor as string),
  );
  return {
    id: tenantId as string,
    keys: { read: read!.key, write: write!.key, admin: admin!.key, revoked: revoked!.key },
    pools: {
      timer: timers,
      deadLetter: deadLetters,
      workflow: workflows,
      run: runs,
      key: spares.map(({ id }) => id),
      tenant: [tenantId as string],
      cursor: cursors,
    },
  };
}

/** Starts a timer that is due, as a worker would. */
async function startTimer(database: Database, id: string): Promise<StartedTimer> {
  return waitUntil('the timer starts', async () => {
    const [started] = await startTimers(database.hot, [{ id, version: 1 }], TIMEOUT_MS, TIMEOUT_MS);
    return started;
  });
}

async function finish(database: Database, started: StartedTimer, state: 'dead' | 'succeeded'): Promise<void> {
  const { id, version, started_at: startedAt } = started;
  const succeeded = { state, outcome: 'succeeded', httpStatus: 200, error: null } as const;
  await finishTimers(database.hot, [
    { ...DEAD_OUTCOME, ...(state === 'succeeded' && succeeded), id, version, startedAt },
  ]);
}
