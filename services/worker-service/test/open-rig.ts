import { createTimers, type Database, FIRST_ID, type NewTimer, readDueTimers } from '@punctual/database';
import { type BackendName, ChunkQueue, type Hint } from '@punctual/queue';
import { Health, Loop } from '@punctual/runtime';
import {
  createTestLogger,
  createTestQueue,
  makeTimer,
  type Receiver,
  startReceiver,
  TEST_KEYS,
  TEST_PARTITION_COUNT,
  waitUntil,
  withoutFaults,
} from '@punctual/testkit';
import { Registry } from 'prom-client';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { readWorkerConfig } from '../config.ts';
import { type RunningWorker, startWorker } from '../worker.ts';

export interface WorkerRig {
  worker: RunningWorker;
  /** The schedulers' end of the queue. */
  queue: ChunkQueue;
  /** Lines that the worker logged, parsed. */
  logged: Record<string, unknown>[];
  health: Health;
  /** Stores timers and hands their first version to the queue. Returns their ids, in order. */
  deliver(...timers: Partial<NewTimer>[]): Promise<string[]>;
  /** The sum of a metric over all its labels. */
  readMetric(name: string): Promise<number>;
  /** Another worker on the same queue; it is stopped with the rig. */
  startAnother(settings?: Record<string, string>): Promise<RunningWorker>;
  close(): Promise<void>;
}

export interface WorkerRigOptions {
  backend?: BackendName;
  /** How the worker reaches the database; the rig itself uses `db`. */
  databaseUrl?: string;
  /** Over the settings that tests need. */
  settings?: Record<string, string>;
  /** Dispatch whatever is due, again and again, as schedulers do. */
  isHinting?: boolean;
}

const HINT_INTERVAL_MS = 20;
const HINTS_MAX = 2_000;

/** A worker in this process on a queue of its own, and the means to feed it. */
export async function openWorkerRig(
  db: { database: Database; url: string },
  options: WorkerRigOptions = {},
): Promise<WorkerRig> {
  const testQueue = await createTestQueue(options.backend ?? 'redis', db);
  const { redisUrl, redisPrefix } = testQueue.connection;
  const queue = new ChunkQueue(testQueue.ownConnection, () => {});
  const { logger, lines } = createTestLogger();
  const start = async (settings: Record<string, string> = {}) => {
    const config = readWorkerConfig({
      DATABASE_URL: options.databaseUrl ?? db.url,
      REDIS_PREFIX: redisPrefix,
      ...(redisUrl ? { REDIS_URL: redisUrl } : {}),
      EGRESS_ALLOW: '127.0.0.0/8',
      ENCRYPTION_KEYS: TEST_KEYS,
      ...options.settings,
      ...settings,
    });
    const shared = { health: new Health('0'), registry: new Registry() };
    return { worker: await withoutFaults(() => startWorker({ config, logger, shared })), ...shared };
  };
  const { worker, health, registry } = await start();
  const others: RunningWorker[] = [];
  const hinter = options.isHinting === false ? undefined : openHinter(db.database, queue);
  hinter?.start();
  return {
    worker,
    queue,
    logged: lines,
    health,
    async deliver(...fields) {
      const timers = fields.map((each) => makeTimer(each));
      for (let from = 0; from < timers.length; from += 1_000) {
        await createTimers(db.database.hot, timers.slice(from, from + 1_000));
      }
      // With a hinter the timers are found; two hints of one timer would be harmless, but tests count.
      if (!hinter) await queue.dispatch(timers.map(({ id }) => ({ id, version: 1 })));
      return timers.map(({ id }) => id);
    },
    async readMetric(name) {
      const metric = await registry.getSingleMetric(name)!.get();
      return metric.values.reduce((sum, { value }) => sum + value, 0);
    },
    async startAnother(settings) {
      const another = await start(settings);
      others.push(another.worker);
      return another.worker;
    },
    async close() {
      await hinter?.stop();
      await Promise.all([worker, ...others].map((each) => each.stop()));
      await queue.close();
      await testQueue.drop();
    },
  };
}

/** Rigs on `db`, each closed after its test, and whatever else a test wants closed then: the last that was opened first. */
export function useWorkerRigs(db: { database: Database; url: string }) {
  const closers: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of closers.splice(0).toReversed()) await close();
  });
  return {
    async open(options?: WorkerRigOptions): Promise<WorkerRig> {
      const rig = await openWorkerRig(db, options);
      closers.push(() => rig.close());
      return rig;
    },
    closeAfterwards<T extends { close(): Promise<unknown> }>(opened: T): T {
      closers.push(() => opened.close());
      return opened;
    },
  };
}

/** One rig and one endpoint for all tests of a block; what the endpoint got, and how it answers, begins anew with each. */
export function useReceivingRig(db: { database: Database; url: string }, backend: BackendName) {
  let rig: WorkerRig;
  let receiver: Receiver;
  beforeAll(async () => {
    receiver = await startReceiver();
    rig = await openWorkerRig(db, { backend });
  });
  beforeEach(() => {
    receiver.requests.length = 0;
    receiver.answer = () => ({});
  });
  afterAll(async () => {
    await rig?.close();
    await receiver?.close();
  });
  return {
    get rig() {
      return rig;
    },
    get receiver() {
      return receiver;
    },
  };
}

/** The same item so many times. */
export function repeat<Item>(count: number, item: Item): Item[] {
  return Array.from({ length: count }, () => item);
}

function openHinter(database: Database, queue: ChunkQueue): Loop {
  const sent = new Set<string>();
  const from = Array.from({ length: TEST_PARTITION_COUNT }, (_, partition) => ({ partition, wakeAt: 0, id: FIRST_ID }));
  return new Loop({
    name: 'hinter',
    async run() {
      const { timers } = await readDueTimers(database.hot, from, 0, HINTS_MAX);
      const hints: Hint[] = timers.filter(({ id, version }) => !sent.has(`${id}/${version}`));
      for (const { id, version } of hints) sent.add(`${id}/${version}`);
      if (hints.length > 0) await queue.dispatch(hints);
    },
    pauseMs: () => HINT_INTERVAL_MS,
    errorPauseMs: HINT_INTERVAL_MS,
    onError: () => {},
  });
}

/** Waits until all of these timers have ended, and returns them by id as they stand in the history or the dead letters. */
export async function waitForEnds(database: Database, ids: readonly string[], limitMs?: number) {
  const read = async () => {
    const [finished, dead] = await Promise.all([
      database.kysely.selectFrom('finished_timers').selectAll().where('id', 'in', ids).execute(),
      database.kysely.selectFrom('dead_letters').selectAll().where('id', 'in', ids).execute(),
    ]);
    return new Map([...finished, ...dead].map((row) => [row.id, row]));
  };
  return waitUntil(
    `${ids.length} timers have ended`,
    async () => {
      const ended = await read();
      return ended.size === ids.length ? ended : undefined;
    },
    limitMs,
  );
}

/** An `http` action as a timer stores it. */
export function httpAction(url: string, fields: Record<string, unknown> = {}): string {
  return JSON.stringify({ type: 'http', url, ...fields });
}

/** A retry policy whose waits a test can afford. */
export const QUICK_RETRY = JSON.stringify({ backoff: { initialMs: 20, maxMs: 50, jitter: 0 } });
