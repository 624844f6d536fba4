import type { QueueInfo } from '@punctual/contracts';
import {
  AnnouncementListener,
  asTenant,
  checkDatabaseReady,
  connectDatabase,
  type Database,
  DatabaseClock,
  readLeaseKey,
  readPartitionCount,
  synchronizeClock,
  WorkflowVersions,
} from '@punctual/database';
import { createEgressPolicy, parseEncryptionKeys } from '@punctual/domain';
import { nameChunkQueue } from '@punctual/queue';
import {
  type CheckResult,
  createMetrics,
  Health,
  type Logger,
  Loop,
  limitRate,
  OUTAGE_LOG_INTERVAL_MS,
  openTracing,
  VERSION,
} from '@punctual/runtime';
import type { Registry } from 'prom-client';
import { SecretMover } from './access/secret-mover.ts';
import type { ApiServer } from './api-server.ts';
import { buildApi } from './app.ts';
import { type ApiConfig, readEgressRanges } from './config.ts';
import type { ApiContext } from './context.ts';
import { Heartbeat } from './heartbeat.ts';
import { KnownLimits } from './limits/known-limits.ts';
import { LiveTimerQuotas } from './limits/live-timer-quotas.ts';
import { RequestRates } from './limits/request-rates.ts';
import { createApiMetrics } from './metrics.ts';
import { BodyRoom } from './plugins/body-room.ts';
import { PullSightings } from './pull/pull-sightings.ts';
import { createEndBatcher } from './pull/task-ends.ts';
import { TaskQueues } from './pull/task-queues.ts';
import { boundQueueReads } from './queue-reader.ts';
import { TenantBatchers } from './tenant-batchers.ts';
import { createKeyedTimerBatcher } from './timers/keyed-timer-batcher.ts';
import { describeTimerBatches } from './timers/timer-batcher.ts';
import { WriteBatcher } from './write-batcher.ts';

/** How often the estimate of the database's time is renewed (ms), and after a failure. */
const CLOCK_INTERVAL_MS = 5_000;
const CLOCK_ERROR_PAUSE_MS = 1_000;
/** How often connections that became idle are closed during a stop (ms). */
const IDLE_SWEEP_INTERVAL_MS = 50;
/**
 * Connections that the system keeps for us until we take them. Those beyond are not refused but forgotten, and their clients
 * try again after 1, 3 and 7 s: with Node's 511, thousands that had waited for an api to come back would wait on. Linux
 * allows 4,096 unless told otherwise (`net.core.somaxconn`).
 */
const BACKLOG_MAX = 4_096;
/** The first round includes the time to connect, which tells little; the others narrow it down. */
const CLOCK_ROUNDS_AT_START = 4;
/** Ten calendar years hold at most three leap days, four years hold one: the same date N years on is always allowed. */
const DAYS_PER_YEAR = 365.25;
const DAY_MS = 86_400_000;

export interface ApiOptions {
  config: ApiConfig;
  logger: Logger;
  /** The health and metrics of the process that hosts this api with others; absent: its own. */
  shared?: { health: Health; registry: Registry };
  /** Tells the state of the queue; only ever degrades the health. Absent: `readQueues` tells. */
  checkQueue?: () => Promise<CheckResult>;
  /** Asks the queues for their figures; rejects while they can not be reached. */
  readQueues?: () => Promise<QueueInfo[]>;
}

export interface RunningApi {
  url: string;
  port: number;
  health: Health;
  /** Takes no more requests, answers those in hand, then closes. Safe twice. */
  stop(): Promise<void>;
}

/** Connects, checks that the schema is up to date, and listens. Rejects with everything closed again. */
export async function startApi(options: ApiOptions): Promise<RunningApi> {
  const { config, logger } = options;
  const database = connectDatabase({
    connectionString: config.DATABASE_URL,
    pooler: config.DATABASE_POOLER,
    applicationName: 'punctual-api',
    poolSizeMax: config.API_POOL_SIZE_MAX,
    connectTimeoutMs: config.API_CONNECT_TIMEOUT_MS,
    queryTimeoutMs: config.API_QUERY_TIMEOUT_MS,
    onIdleError: (error) => logger.warn({ err: error }, 'an idle connection to Postgres was lost'),
  });
  try {
    return await openApi(options, database);
  } catch (error) {
    await database.close();
    throw error;
  }
}

async function openApi(options: ApiOptions, database: Database): Promise<RunningApi> {
  const { config, logger } = options;
  await checkDatabaseReady(database);
  const registry = options.shared?.registry ?? createMetrics('api');
  const readQueues = options.readQueues && boundQueueReads(options.readQueues);
  const tracing = await openTracing(config, { name: 'punctual-api', version: VERSION });
  const context = {
    ...(await createApiContext({ config, logger, database, registry })),
    ...(readQueues && { readQueues }),
    ...(tracing && { tracing }),
  };
  const health = options.shared?.health ?? new Health(VERSION);
  health.addCheck('postgres', true, async () => {
    const askedAt = performance.now();
    await database.access.query('SELECT 1');
    return { status: 'ok', latencyMs: Math.round(performance.now() - askedAt) };
  });
  const checkQueue =
    options.checkQueue ?? (readQueues && (async () => describeQueues(await readQueues(), config.QUEUE_COUNT)));
  if (checkQueue) health.addCheck('queue', false, checkQueue);
  const clockLoop = new Loop({
    name: 'clock',
    run: () => synchronizeClock(database.ordinary, context.clock),
    pauseMs: () => CLOCK_INTERVAL_MS,
    errorPauseMs: CLOCK_ERROR_PAUSE_MS,
    onError: limitRate(
      (error: unknown) => logger.warn({ err: error }, "the database's time could not be read; trying again"),
      OUTAGE_LOG_INTERVAL_MS,
    ),
  });
  health.addLoop(clockLoop);
  const heartbeat = new Heartbeat(context);
  health.addLoop(heartbeat.loop);
  const mover = new SecretMover(context);
  const { pullSightings } = context;
  health.addLoop(pullSightings.loop);
  if (context.keyring.primaryKeyId === undefined) {
    logger.warn(
      'ENCRYPTION_KEYS is not set: signing secrets can not be made, and header values are stored as they come',
    );
  } else {
    health.addLoop(mover.loop);
  }
  const listener = listenToSchedulers(context);
  const app = await buildApi({ context, health, registry });
  // Before anything can be sealed here: whoever replaces keys must know of it.
  await heartbeat.runOnce();
  const url = await listen(app, config, heartbeat);
  heartbeat.start();
  clockLoop.start();
  pullSightings.start();
  listener?.start();
  if (context.keyring.primaryKeyId !== undefined) mover.start();
  health.markStarted();
  const address = app.server.address();
  const port = typeof address === 'object' && address ? address.port : config.PORT;
  logger.info({ url }, 'the api listens');
  let stopping: Promise<void> | undefined;
  return {
    url,
    port,
    health,
    stop: () => {
      const loops = [clockLoop, mover, pullSightings, heartbeat, ...(listener ? [listener] : [])];
      stopping ??= stopApi({ app, context, health, loops });
      return stopping;
    },
  };
}

/** Rejects, having said goodbye, when it can not: nobody is to wait for an api that never was. */
async function listen(app: ApiServer, config: ApiConfig, heartbeat: Heartbeat): Promise<string> {
  try {
    return await app.listen({ host: config.HOST, port: config.PORT, backlog: BACKLOG_MAX });
  } catch (error) {
    await heartbeat.stop();
    throw error;
  }
}

/** Undefined: what leads to Postgres passes no notifications on, and whoever waits for tasks has to look now and then. */
function listenToSchedulers({ config, logger, taskQueues }: ApiContext): AnnouncementListener | undefined {
  if (config.DATABASE_POOLER === 'transaction') return undefined;
  const warnSeldom = limitRate(
    (error: Error) => logger.warn({ err: error }, 'announcements of tasks are not heard; connecting again'),
    OUTAGE_LOG_INTERVAL_MS,
  );
  return new AnnouncementListener({
    connectionString: config.DATABASE_URL,
    applicationName: 'punctual-api-listener',
    onAnnounced: (queues) => taskQueues.announce(queues),
    onChange: (isListening) => taskQueues.setListening(isListening),
    onError: warnSeldom,
  });
}

function describeQueues(queues: readonly QueueInfo[], count: number): CheckResult {
  const sum = (figure: 'waiting' | 'active') => queues.reduce((total, queue) => total + queue[figure], 0);
  const reached = new Set(queues.map(({ name }) => name));
  const all = Array.from({ length: count }, (_, index) => nameChunkQueue(index));
  const unreachable = queues.length < count ? all.filter((name) => !reached.has(name)) : [];
  const status = unreachable.length > 0 ? 'degraded' : 'ok';
  return { status, waiting: sum('waiting'), active: sum('active'), unreachable };
}

async function stopApi(parts: {
  app: ApiServer;
  context: ApiContext;
  health: Health;
  loops: readonly { stop(): Promise<void> }[];
}): Promise<void> {
  const { context } = parts;
  parts.health.markDraining();
  if (context.config.API_DRAIN_DELAY_MS > 0) {
    await new Promise((resolve) => setTimeout(resolve, context.config.API_DRAIN_DELAY_MS));
  }
  // Or the close would wait for whoever waits for a task.
  context.taskQueues.stop();
  // Connections whose last answer went out after the close began would otherwise be kept for their whole idle time.
  const sweep = setInterval(() => parts.app.server.closeIdleConnections(), IDLE_SWEEP_INTERVAL_MS);
  await parts.app.close().finally(() => clearInterval(sweep));
  await Promise.all([
    context.timerBatcher.flush(),
    context.namedTimerBatcher.flush(),
    context.keyedTimerBatcher.flush(),
    context.taskEnds.flush(),
  ]);
  await Promise.all(parts.loops.map((loop) => loop.stop()));
  await context.tracing?.stop();
  await context.database.close();
}

/** Everything that routes share. Rejects when the database can not be reached. */
export async function createApiContext(parts: {
  config: ApiConfig;
  logger: Logger;
  database: Database;
  registry: Registry;
  now?: () => number;
}): Promise<ApiContext> {
  const { config, logger, database, registry, now = () => performance.now() } = parts;
  const clock = new DatabaseClock();
  for (let round = 0; round < CLOCK_ROUNDS_AT_START; round += 1) await synchronizeClock(database.ordinary, clock);
  const bodyRoom = new BodyRoom(config.API_BODIES_BYTES_MAX);
  const limits = new KnownLimits(config, database, now);
  await limits.readDefaultTenant();
  const timerBatcher = new WriteBatcher(
    describeTimerBatches(
      config,
      () => database.hot,
      () => metrics,
    ),
  );
  const namedTimerBatcher = new TenantBatchers(
    describeTimerBatches(
      config,
      ({ tenantId }) => asTenant(database, tenantId).hot,
      () => metrics,
    ),
  );
  let taskQueues: TaskQueues | undefined;
  const metrics = createApiMetrics(registry, {
    countWaitingQueries: (pool) => database[pool].waitingCount,
    countWaitingTimers: () =>
      timerBatcher.waitingCount + namedTimerBatcher.waitingCount + keyedTimerBatcher.waitingCount,
    countBodyBytes: () => bodyRoom.takenBytes,
    countLeaseWaits: () => taskQueues?.waitingCount ?? 0,
  });
  const context = {
    config,
    logger,
    database,
    now,
    clock,
    limits,
    requestRates: new RequestRates(limits),
    liveTimers: new LiveTimerQuotas({
      limits,
      database,
      onRefuse: () => metrics.requestsLimited.inc({ limit: 'live_timers' }),
      now,
    }),
    timerBatcher,
    namedTimerBatcher,
    bodyRoom,
    metrics,
    workflowVersions: new WorkflowVersions(),
    partitionCount: await readPartitionCount(database),
    egressPolicy: createEgressPolicy(readEgressRanges(config)),
    keyring: parseEncryptionKeys(config.ENCRYPTION_KEYS),
    maxWaitMs: Math.ceil(config.MAX_WAIT_YEARS * DAYS_PER_YEAR) * DAY_MS,
  };
  const withPull = {
    ...context,
    taskQueues: new TaskQueues(context),
    pullSightings: new PullSightings(context),
    taskEnds: createEndBatcher(context),
    leaseKey: await readLeaseKey(database.ordinary),
  };
  taskQueues = withPull.taskQueues;
  const keyedTimerBatcher = createKeyedTimerBatcher(withPull);
  return { ...withPull, keyedTimerBatcher };
}
