import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type RunningService, type RunningStack, type ServiceKind, startStack } from '@punctual/local-servers';
import { type Receiver, startReceiver, waitUntil } from '@punctual/testkit';
import { send, type Timer } from '../api-client.ts';
import { ReadyClient } from './ready-client.ts';

export interface RollOptions {
  /** Timers created and delivered a second. */
  rate: number;
  /** Of each part that is measured (s): before anything happens, with both versions at work, and after all. */
  seconds: number;
  /** The root of the checkout whose services are replaced by this one's; absent: each is restarted as it is. */
  from?: string;
  log: (line: string) => void;
}

/** Lateness of the timers that were due in a part of the time (ms). */
export interface Lateness {
  timers: number;
  p50: number;
  p95: number;
  p99: number;
  max: number;
}

export interface RollResult {
  created: number;
  restarts: number;
  /** How long the restarts took together (s). */
  restartSeconds: number;
  /** Before the first restart, from it to the last one, and after that. */
  before: Lateness;
  during: Lateness;
  after: Lateness;
  /** The longest wait for an answer (ms). */
  slowestAnswerMs: number;
  /** What broke a promise, a sentence each. */
  faults: string[];
}

const KINDS: readonly ServiceKind[] = ['scheduler', 'worker', 'api'];
const OF_EACH = 2;
const ENTRIES = {
  api: 'services/api-service/main.ts',
  scheduler: 'services/scheduler-service/main.ts',
  worker: 'services/worker-service/main.ts',
  migrate: 'services/standalone/migrate.ts',
};
const ROOT = join(import.meta.dirname, '../../..');
/** A draining api still answers for so long: several looks of a load balancer. */
const ENV = { LOG_LEVEL: 'warn', API_DRAIN_DELAY_MS: '500' };
const DELAY_MS = { min: 200, max: 2_000 };
/** Of the first part, once more before it: processes that have just begun are slow for some seconds. */
const WARM_UP_SHARE = 0.5;
/** Between two looks at what should have been sent by now (ms). */
const TICK_MS = 5;
const ARRIVAL_LIMIT_MS = 60_000;
const FAULTS_PER_KIND_MAX = 5;

const listEntries = (root: string) =>
  Object.fromEntries(Object.entries(ENTRIES).map(([kind, entry]) => [kind, join(root, entry)])) as typeof ENTRIES;

/**
 * Restarts two of each service one after the other, as the runbook for upgrades says, while timers are created and delivered
 * at a fixed rate. `from` another checkout: its services run first; the database is migrated beside them, and for a while one
 * of each kind is of either version. Who creates timers is a load balancer that sends each request once.
 */
export async function roll({ rate, seconds, from, log }: RollOptions): Promise<RollResult> {
  const receiver = await startReceiver();
  const counts = { api: OF_EACH, scheduler: OF_EACH, worker: OF_EACH };
  const entries = from === undefined ? {} : { entries: listEntries(from) };
  const stack = await startStack({ ...counts, ...entries, ephemeral: true, env: ENV, log });
  const client = new ReadyClient(() =>
    stack.processes.filter(({ name }) => name.startsWith('api')).map(({ url }) => url),
  );
  try {
    await client.start();
    const load = startLoad(client, receiver.url, rate);
    await sleep(WARM_UP_SHARE * seconds * 1000);
    const warmAt = Date.now();
    await sleep(seconds * 1000);
    const beganAt = Date.now();
    if (from !== undefined) await migrate(stack, log);
    const old = KINDS.map((kind) => stack.processes.filter(({ name }) => name.startsWith(kind)));
    for (let index = 0; index < OF_EACH; index += 1) {
      for (const [place, kind] of KINDS.entries()) await replace(stack, kind, old[place]![index]!, log);
      if (from !== undefined && index === 0) await sleep(seconds * 1000);
    }
    const endedAt = Date.now();
    await sleep(seconds * 1000);
    const acknowledged = await load.stop();
    const faults = [...load.faults, ...(await findFaults(stack, receiver, acknowledged))];
    const lateness = (fromAt: number, toAt: number) => readLateness(receiver, acknowledged, fromAt, toAt);
    return {
      created: acknowledged.size,
      restarts: KINDS.length * OF_EACH,
      restartSeconds: (endedAt - beganAt) / 1000,
      before: lateness(warmAt, beganAt),
      during: lateness(beganAt, endedAt),
      after: lateness(endedAt, Number.POSITIVE_INFINITY),
      slowestAnswerMs: load.slowestAnswerMs(),
      faults,
    };
  } finally {
    await client.close();
    await stack.stop();
    await receiver.close();
  }
}

async function replace(stack: RunningStack, kind: ServiceKind, old: RunningService, log: RollOptions['log']) {
  log(`restarting ${old.name} …`);
  const { code } = await old.stop();
  if (code !== 0) throw new Error(`${old.name} ended with exit code ${code}`);
  await stack.add(kind, join(ROOT, ENTRIES[kind]));
}

async function migrate({ databaseUrl, redisUrl }: RunningStack, log: RollOptions['log']): Promise<void> {
  log('migrating …');
  const env = { ...process.env, DATABASE_URL: databaseUrl, ...(redisUrl !== undefined && { REDIS_URL: redisUrl }) };
  await promisify(execFile)(process.execPath, [join(ROOT, ENTRIES.migrate)], { env });
}

/** Creates timers, open loop, until it is stopped; then resolves to the due times (epoch ms) of those that were acknowledged. */
function startLoad(client: ReadyClient, url: string, rate: number) {
  const acknowledged = new Map<string, number>();
  const faults: string[] = [];
  const underWay = new Set<Promise<void>>();
  const beganAt = performance.now();
  let sent = 0;
  let slowestMs = 0;
  const create = async () => {
    const sentAt = performance.now();
    const delayMs = Math.round(DELAY_MS.min + Math.random() * (DELAY_MS.max - DELAY_MS.min));
    const timer = { dueAt: new Date(Date.now() + delayMs).toISOString(), action: { type: 'http', url } };
    try {
      const { status, body } = await client.post('/v1/timers', timer);
      const { id, dueAt } = JSON.parse(body) as Timer;
      if (status === 201) acknowledged.set(id, Date.parse(dueAt));
      else faults.push(`a create was answered ${status}: ${body.slice(0, 200)}`);
    } catch (error) {
      faults.push(`a create failed: ${(error as Error).message}`);
    }
    slowestMs = Math.max(slowestMs, performance.now() - sentAt);
  };
  const ticking = setInterval(() => {
    for (const target = ((performance.now() - beganAt) / 1000) * rate; sent < target; sent += 1) {
      const creating = create().finally(() => underWay.delete(creating));
      underWay.add(creating);
    }
  }, TICK_MS);
  return {
    faults,
    slowestAnswerMs: () => slowestMs,
    async stop() {
      clearInterval(ticking);
      await Promise.all(underWay);
      return acknowledged;
    },
  };
}

async function findFaults(stack: RunningStack, receiver: Receiver, acknowledged: ReadonlyMap<string, number>) {
  const countArrived = () => new Set(receiver.requests.map(readId)).size;
  const hasAll = () => countArrived() >= acknowledged.size;
  await waitUntil('all timers are delivered', hasAll, ARRIVAL_LIMIT_MS).catch(() => {});
  const faults: string[] = [];
  const counts = new Map<string, number>();
  for (const request of receiver.requests) {
    const id = readId(request);
    counts.set(id, (counts.get(id) ?? 0) + 1);
    const dueAt = acknowledged.get(id);
    if (dueAt !== undefined && request.receivedAt < dueAt) faults.push(`timer ${id} came early`);
  }
  const lost = [...acknowledged.keys()].filter((id) => !counts.has(id));
  const repeated = [...counts].filter(([, count]) => count > 1);
  const unknown = [...counts.keys()].filter((id) => !acknowledged.has(id));
  faults.push(...lost.slice(0, FAULTS_PER_KIND_MAX).map((id) => `timer ${id} was acknowledged and never came`));
  faults.push(...repeated.slice(0, FAULTS_PER_KIND_MAX).map(([id, count]) => `timer ${id} came ${count} times`));
  faults.push(...unknown.slice(0, FAULTS_PER_KIND_MAX).map((id) => `timer ${id} came and was never acknowledged`));
  const url = stack.processes.findLast(({ name }) => name.startsWith('api'))!.url;
  const { body } = await send<{ isBalanced: boolean }>(`${url}/v1/ledger`);
  if (!body.isBalanced) faults.push('the ledger does not balance');
  return faults;
}

const readId = ({ headers }: Receiver['requests'][number]) => String(headers['webhook-id']);

function readLateness(
  { requests }: Receiver,
  acknowledged: ReadonlyMap<string, number>,
  from: number,
  to: number,
): Lateness {
  const late = requests
    .map((request) => ({ receivedAt: request.receivedAt, dueAt: acknowledged.get(readId(request)) ?? Number.NaN }))
    .filter(({ dueAt }) => dueAt >= from && dueAt < to)
    .map(({ receivedAt, dueAt }) => receivedAt - dueAt)
    .toSorted((a, b) => a - b);
  const at = (share: number) => late[Math.floor(share * (late.length - 1))] ?? Number.NaN;
  return { timers: late.length, p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) };
}
