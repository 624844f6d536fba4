import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type RunningService, type RunningStack, startStack } from '@punctual/local-servers';
import { type Receiver, startReceiver, waitUntil } from '@punctual/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiClient, type Timer } from './api-client.ts';

/** More than that are asked for on the way. */
const PARTITIONS = 64;
const PARTITIONS_GROWN = 96;
/** After a scheduler came or went, all partitions are shared fairly again (ms). */
const REBALANCE_LIMIT_MS = 5_000;
/** How late a timer may be whose partition has to find another owner (ms): as long as that takes, and the read after it. */
const LATENESS_LIMIT_MS = 8_000;
const SETUP_LIMIT_MS = 120_000;
const TEST_LIMIT_MS = 60_000;
/** Timers are created all the while, so many ahead of their deliveries at most, and are due this much later (ms). */
const AHEAD_MAX = 100;
const TRAFFIC_DELAYS_MS = [0, 200, 1_000];
const TIMERS_LOOKED_AT = 20;

const runFile = promisify(execFile);
const MIGRATE = join(import.meta.dirname, '../../services/standalone/migrate.ts');

let stack: RunningStack;
let receiver: Receiver;
let api: ApiClient;
const acknowledged = new Map<string, number>();
let partitionCount = PARTITIONS;
let isOver = false;
let traffic: Promise<void>;
/** How long each change took to be dealt with, for people. */
const took: Record<string, number> = {};

beforeAll(async () => {
  [stack, receiver] = await Promise.all([
    startStack({ scheduler: 2, ephemeral: true, env: { LOG_LEVEL: 'warn' }, log: () => {} }),
    startReceiver(),
  ]);
  api = new ApiClient(stack.apiUrls);
  await waitUntil('two schedulers share the partitions', () => isShared(2), SETUP_LIMIT_MS);
  traffic = createTimers();
  // Looked at when it is over.
  traffic.catch(() => {});
}, SETUP_LIMIT_MS);

afterAll(async () => {
  isOver = true;
  await traffic;
  console.log(JSON.stringify(took));
  await stack?.stop();
  await receiver?.close();
}, SETUP_LIMIT_MS);

async function createTimers(): Promise<void> {
  for (let count = 0; !isOver; count += 1) {
    const dueAt = new Date(Date.now() + TRAFFIC_DELAYS_MS[count % TRAFFIC_DELAYS_MS.length]!).toISOString();
    const timer = { dueAt, action: { type: 'http', url: receiver.url } };
    const { id } = await api.expect<Timer>([201], 'POST', '/v1/timers', timer);
    acknowledged.set(id, Date.parse(dueAt));
    await waitUntil(
      'deliveries keep up',
      () => isOver || acknowledged.size - receiver.requests.length < AHEAD_MAX,
      TEST_LIMIT_MS,
    );
  }
}

/** Whether `count` schedulers own every partition, none owned twice, and nobody more than its share. */
async function isShared(count: number): Promise<boolean> {
  const { data } = await api.expect<{ data: { partitions: number[] }[] }>([200], 'GET', '/v1/schedulers');
  const owned = data.flatMap(({ partitions }) => partitions);
  expect(new Set(owned).size).toBe(owned.length);
  const share = Math.ceil(partitionCount / count);
  const active = data.filter(({ partitions }) => partitions.length > 0);
  return (
    owned.length === partitionCount &&
    active.length === count &&
    active.every(({ partitions }) => partitions.length <= share)
  );
}

async function waitForShares(what: string, count: number): Promise<void> {
  const beganAt = performance.now();
  await waitUntil(`${count} schedulers share the partitions`, () => isShared(count), REBALANCE_LIMIT_MS);
  took[what] = Math.round(performance.now() - beganAt);
}

const listSchedulers = (): RunningService[] => stack.processes.filter(({ name }) => name.startsWith('scheduler'));

/** Timers that were created from now on are delivered although a scheduler just came or went. */
async function expectDeliveries(): Promise<void> {
  const before = new Set(acknowledged.keys());
  const isNew = (id: string) => !before.has(id);
  await waitUntil(
    'timers are created',
    () => [...acknowledged.keys()].filter(isNew).length >= TIMERS_LOOKED_AT,
    TEST_LIMIT_MS,
  );
  const ids = [...acknowledged.keys()].filter(isNew);
  const receivedIds = () => new Set(receiver.requests.map(({ headers }) => String(headers['webhook-id'])));
  await waitUntil('they are delivered', () => new Set(ids).isSubsetOf(receivedIds()), LATENESS_LIMIT_MS);
}

describe('partitions are shared fairly again within five seconds, and deliveries go on', () => {
  it(
    'when a scheduler comes',
    async () => {
      await stack.add('scheduler');
      await waitForShares('comes', 3);
      await expectDeliveries();
    },
    TEST_LIMIT_MS,
  );

  it(
    'when one is killed',
    async () => {
      const [first] = listSchedulers();
      first!.kill('SIGKILL');
      await waitForShares('is killed', 2);
      await expectDeliveries();
    },
    TEST_LIMIT_MS,
  );

  it(
    'when one leaves in good order',
    async () => {
      await stack.add('scheduler');
      await waitForShares('comes again', 3);
      const [, second] = listSchedulers();
      await second!.stop();
      await waitForShares('leaves', 2);
      await expectDeliveries();
    },
    TEST_LIMIT_MS,
  );

  it(
    'when one freezes for longer than its lease, and when it goes on as if nothing had happened',
    async () => {
      const frozen = listSchedulers().at(-1)!;
      frozen.kill('SIGSTOP');
      try {
        await waitForShares('freezes', 1);
        await expectDeliveries();
      } finally {
        frozen.kill('SIGCONT');
      }
      await waitForShares('thaws', 2);
      await expectDeliveries();
    },
    TEST_LIMIT_MS,
  );

  it(
    'when there are more of them, and apis that were started since have their timers there',
    async () => {
      const { stdout } = await runFile(process.execPath, [MIGRATE, '--partitions', String(PARTITIONS_GROWN)], {
        env: { ...process.env, DATABASE_URL: stack.databaseUrl },
      });
      expect(stdout).toContain('64 partitions are 96 now.');
      partitionCount = PARTITIONS_GROWN;
      await waitForShares('more partitions', 2);
      const { url } = await stack.add('api');
      api = new ApiClient([url]);
      await expectDeliveries();
      const isInNewPartition = (id: string) => Number.parseInt(id.slice(-8), 16) % PARTITIONS_GROWN >= PARTITIONS;
      await waitUntil(
        'timers of new partitions are delivered',
        () => receiver.requests.some(({ headers }) => isInNewPartition(String(headers['webhook-id']))),
        TEST_LIMIT_MS,
      );
    },
    TEST_LIMIT_MS,
  );

  it(
    'when all are gone for a while',
    async () => {
      for (const scheduler of listSchedulers()) scheduler.kill('SIGKILL');
      await stack.add('scheduler');
      await waitForShares('comes when all are gone', 1);
      await expectDeliveries();
    },
    TEST_LIMIT_MS,
  );
});

it(
  'in all that time no timer was lost, early, or sent twice',
  async () => {
    isOver = true;
    await traffic;
    const receivedIds = () => receiver.requests.map(({ headers }) => String(headers['webhook-id']));
    await waitUntil('every timer is delivered', () => new Set(receivedIds()).size >= acknowledged.size, TEST_LIMIT_MS);
    expect(receivedIds().toSorted()).toEqual([...acknowledged.keys()].toSorted());
    const lateness = receiver.requests.map(
      ({ headers, receivedAt }) => receivedAt - acknowledged.get(String(headers['webhook-id']))!,
    );
    expect(Math.min(...lateness)).toBeGreaterThanOrEqual(0);
    took.greatestLateness = Math.max(...lateness);
    const ledger = await api.expect<{ isBalanced: boolean; unownedPartitions: number[] }>([200], 'GET', '/v1/ledger');
    expect(ledger).toMatchObject({ isBalanced: true, unownedPartitions: [] });
  },
  TEST_LIMIT_MS,
);
