import { hostname } from 'node:os';
import {
  beatServiceInstance,
  checkDatabaseReady,
  connectDatabase,
  DatabaseClock,
  HEARTBEAT_INTERVAL_MS,
  readPartitionCount,
  removeServiceInstance,
  type ServiceInstance,
  synchronizeClock,
  WorkflowVersions,
} from '@punctual/database';
import { createEgressPolicy, createId, parseEncryptionKeys } from '@punctual/domain';
import { ChunkQueue, describeOutage } from '@punctual/queue';
import {
  type Health,
  type Logger,
  Loop,
  limitRate,
  OUTAGE_LOG_INTERVAL_MS,
  openOps,
  openTracing,
  splitList,
  VERSION,
} from '@punctual/runtime';
import type { Registry } from 'prom-client';
import { AttemptRunner } from './attempt-runner.ts';
import { WAITING_SHARE, type WorkerConfig } from './config.ts';
import { Consumer } from './consumer.ts';
import { createHostResolver } from './egress/host-resolver.ts';
import { Gates } from './gates.ts';
import { Lanes } from './lanes.ts';
import { createWorkerMetrics, type WorkerMetrics } from './metrics.ts';
import { OutcomeWriter } from './outcome-writer.ts';
import { SigningSecrets } from './signing-secrets.ts';
import { BulkWorker } from './system/bulk-operation.ts';
import { ScheduleWorker } from './system/schedule.ts';
import { createSystemTarget } from './system/system-target.ts';
import { createHttpTarget } from './targets/http-target.ts';
import { createOriginCircuits, type OpenCircuit } from './targets/origin-circuits.ts';
import { createOriginGate } from './targets/origin-gate.ts';
import { Traces } from './traces.ts';

export interface WorkerOptions {
  config: WorkerConfig;
  logger: Logger;
  /** The health and metrics of the process that hosts this worker with others; absent: its own, on its own port. */
  shared?: { health: Health; registry: Registry };
}

export interface RunningWorker {
  id: string;
  /** Port of health and metrics; undefined where another service's server shows them. */
  port: number | undefined;
  stop(): Promise<void>;
}

/** How long an attempt may wait in memory for room at its origin (ms), and as a share of the margin of its lease, which goes on meanwhile. */
const GATE_WAIT_MAX_MS = 5_000;
const GATE_WAIT_SHARE = 1 / 3;
/** An origin's queue that is worked off within this time may be long, and holds back new starts; a slower one neither (ms). */
const BRIEF_MS = 100;
/** Of what is in hand, operators see what has been for longer than this (ms), and at most so many. */
const IN_HAND_SHOWN_AFTER_MS = 1_000;
const IN_HAND_SHOWN_MAX = 10;
/** Lines about circuits: one of each kind in this time (ms). */
const CIRCUIT_LOG_INTERVAL_MS = 10_000;

/**
 * Starts a worker. Rejects with a plain sentence when migrations are pending or a setting does not do. It stops in the
 * order in which work flows: no more chunks, attempts end, outcomes are written, connections close.
 */
export async function startWorker({ config, logger, shared }: WorkerOptions): Promise<RunningWorker> {
  const opening = openOps('worker', VERSION, { host: config.HOST, port: config.PORT }, shared);
  const { health } = opening;
  const metrics = createWorkerMetrics(opening.registry);
  const warnSeldom = limitRate(
    (error: Error, text: string) => logger.warn({ err: error }, text),
    OUTAGE_LOG_INTERVAL_MS,
  );
  const egressPolicy = createEgressPolicy({
    allow: splitList(config.EGRESS_ALLOW),
    deny: splitList(config.EGRESS_DENY),
  });
  const keyring = parseEncryptionKeys(config.ENCRYPTION_KEYS);
  const database = connectDatabase({
    connectionString: config.DATABASE_URL,
    pooler: config.DATABASE_POOLER,
    applicationName: 'punctual-worker',
    poolSizeMax: config.WORKER_POOL_SIZE,
    onIdleError: (error) => warnSeldom(error, 'lost a connection to Postgres; the pool makes another'),
  });
  // What a start that fails must close again, in the order in which it was opened.
  const opened: (() => Promise<void>)[] = [() => database.close()];
  try {
    await checkDatabaseReady(database);
    const onQueueError = (error: Error) => warnSeldom(error, describeOutage(config));
    const connection = {
      redisUrl: config.REDIS_URL,
      redisPrefix: config.REDIS_PREFIX,
      queueCount: config.QUEUE_COUNT,
      databaseUrl: config.DATABASE_URL,
    };
    const queue = new ChunkQueue(connection, onQueueError);
    opened.push(() => queue.close());
    await queue.checkTables();
    const clock = new DatabaseClock();
    await synchronizeClock(database.hot, clock);
    const workflowVersions = new WorkflowVersions();
    const dnsServers = splitList(config.WORKER_DNS_SERVERS);
    const http = createHttpTarget({
      egressPolicy,
      resolveHost: createHostResolver(dnsServers.length > 0 ? { mode: 'servers', servers: dnsServers } : {}),
      userAgent: `punctual/${VERSION}`,
      maxConnectionsPerOrigin: config.WORKER_ATTEMPTS_PER_ORIGIN,
    });
    const gate = createOriginGate({
      maxInFlightPerOrigin: config.WORKER_ATTEMPTS_PER_ORIGIN,
      maxWaitingPerOrigin: Math.ceil(config.WORKER_ATTEMPTS_PER_ORIGIN * WAITING_SHARE),
      briefMs: BRIEF_MS,
      waitMaxMs: Math.min(GATE_WAIT_MAX_MS, config.WORKER_LEASE_MARGIN_MS * GATE_WAIT_SHARE),
    });
    const circuits = createOriginCircuits({
      failuresToOpen: config.WORKER_CIRCUIT_FAILURES,
      ...watchCircuits(metrics, logger),
    });
    const lanes = new Lanes({
      database,
      workflowVersions,
      readOrigin: (url) => http.readOrigin(url),
      leaseMarginMs: config.WORKER_LEASE_MARGIN_MS,
      onError: (error) => warnSeldom(error as Error, 'could not wake timers that wait for a place; a scheduler will'),
      metrics,
    });
    const writer = new OutcomeWriter({
      database,
      workflowVersions,
      windowMs: config.WORKER_OUTCOME_WINDOW_MS,
      leaseMarginMs: config.WORKER_LEASE_MARGIN_MS,
      reservePlaces: (wanted, leaving) => consumer.reservePlaces(wanted, leaving),
      onStarted: (timers, startedAt, places) => {
        metrics.tasksTakenOver.inc(timers.length);
        consumer.takeTasks(timers, startedAt, places);
      },
      onWritten: (ids) => {
        consumer.release(ids);
        lanes.release(ids);
        traces?.endOutcomes(ids);
      },
      freePauseMs: () => gates.freePauseMs,
      metrics,
      logger,
    });
    const tracing = await openTracing(config, { name: 'punctual-worker', version: VERSION });
    if (tracing) opened.push(() => tracing.stop());
    const traces =
      tracing &&
      new Traces({
        tracing,
        database,
        onError: (error) => warnSeldom(error as Error, 'could not look up traces; timers are delivered untraced'),
      });
    const id = createId();
    const gates = new Gates({
      database,
      instanceId: id,
      onError: (error) => warnSeldom(error as Error, 'could not look whether something is paused; trying again'),
      metrics,
    });
    const partitionCount = await readPartitionCount(database);
    const runner = new AttemptRunner({
      database,
      workflowVersions,
      secrets: new SigningSecrets(database, keyring),
      keyring,
      http,
      gate,
      circuits,
      gates,
      system: createSystemTarget({
        bulk: new BulkWorker({
          database,
          workflowVersions,
          partitionCount,
          metrics,
          logger,
        }),
        schedules: new ScheduleWorker({ database, workflowVersions, partitionCount, metrics }),
      }),
      circuitHoldMaxMs: config.WORKER_CIRCUIT_HOLD_MAX_MS,
      onOutcome: (outcome) => {
        traces?.endAttempt(outcome);
        writer.add(outcome);
      },
      metrics,
      logger,
    });
    const consumer = new Consumer({
      database,
      clock,
      connection,
      chunksAtOnce: config.WORKER_CHUNKS_AT_ONCE,
      attemptsMax: config.WORKER_ATTEMPTS_MAX,
      leaseMarginMs: config.WORKER_LEASE_MARGIN_MS,
      isBrieflyFull: () => gate.isBrieflyFull(),
      lanes,
      run: traces
        ? (timer, startedAt) => void traces.run(timer, startedAt, (traced) => runner.run(traced, startedAt))
        : (timer, startedAt) => void runner.run(timer, startedAt),
      onQueueError,
      metrics,
      logger,
    });
    opened.push(() => consumer.stop());

    const instance: ServiceInstance = {
      id,
      role: 'worker',
      host: hostname(),
      pid: process.pid,
      version: VERSION,
      details: {},
    };
    let drainRequestedAt: number | null = null;
    const heartbeat = new Loop({
      name: 'heartbeat',
      run: async () => {
        await synchronizeClock(database.hot, clock);
        circuits.forgetIdle();
        const details = {
          attemptsInFlight: consumer.inFlight,
          attemptsMax: config.WORKER_ATTEMPTS_MAX,
          oldestAttempts: consumer.listInHand(clock.now() - IN_HAND_SHOWN_AFTER_MS, IN_HAND_SHOWN_MAX),
          // Names the drain that is done: another one may be asked for before the next heartbeat.
          ...(consumer.isDrained && { drainedFor: drainRequestedAt }),
          circuitsOpen: circuits.openCount,
          openCircuits: circuits.listOpen(),
          // The api moves no stored secret to a key before all workers say that they have it.
          encryptionKeys: keyring.keyIds,
        };
        const beat = await beatServiceInstance(database.hot, { ...instance, details }, drainRequestedAt);
        if (beat.drainRequestedAt !== drainRequestedAt) {
          const text = beat.drainRequestedAt === null ? 'takes work again' : 'drains: it takes no more';
          logger.info({ workerId: id }, `the worker ${text}, as an operator asked`);
        }
        drainRequestedAt = beat.drainRequestedAt;
        metrics.draining.set(drainRequestedAt === null ? 0 : 1);
        consumer.setDraining(drainRequestedAt !== null);
      },
      pauseMs: () => HEARTBEAT_INTERVAL_MS,
      errorPauseMs: HEARTBEAT_INTERVAL_MS,
      onError: (error) =>
        warnSeldom(error as Error, 'could not tell the database that this worker is alive; trying again'),
    });

    health.addCheck('postgres', true, async () => {
      await database.ordinary.query('SELECT 1');
      return { status: 'ok' };
    });
    health.addCheck('queue', false, async () => ({ ...(await queue.readFigures()) }));
    health.addLoop(heartbeat);
    health.addLoop(gates.loop);
    const ops = await opening.listen();

    // Whoever closes a gate has to see this worker before it sends anything.
    await beatServiceInstance(database.hot, instance);
    opened.push(() => gates.loop.stop());
    gates.loop.start();
    heartbeat.start();
    consumer.start();
    health.markStarted();
    logger.info({ workerId: id, port: ops.port, queue: queue.backend }, 'the worker is running');

    let stopping: Promise<void> | undefined;
    const stop = async () => {
      health.markDraining();
      await consumer.stop();
      gate.close();
      await consumer.waitUntilIdle();
      await writer.flush();
      await lanes.flush();
      await tracing?.stop();
      await gates.loop.stop();
      await heartbeat.stop();
      await removeServiceInstance(database.hot, id).catch((error: Error) =>
        logger.debug({ err: error }, 'could not say goodbye'),
      );
      await http.close();
      await queue.close();
      await ops.close();
      await database.close();
    };
    return {
      id,
      port: ops.port,
      stop: () => {
        stopping ??= stop();
        return stopping;
      },
    };
  } catch (error) {
    for (const close of opened.toReversed()) await close();
    throw error;
  }
}

/** Counts circuits and tells of them, of a flood of them now and then: endpoints that are dead are their owners' matter. */
function watchCircuits(metrics: WorkerMetrics, logger: Logger) {
  const tellOpened = limitRate(
    (circuit: OpenCircuit) => logger.warn({ circuit }, 'an endpoint gives no answer; its timers wait until it does'),
    CIRCUIT_LOG_INTERVAL_MS,
  );
  const tellClosed = limitRate(
    (circuit: OpenCircuit) => logger.info({ circuit }, 'an endpoint answers again, or nobody called it any more'),
    CIRCUIT_LOG_INTERVAL_MS,
  );
  return {
    onOpened: (circuit: OpenCircuit) => {
      metrics.circuitsOpened.inc();
      metrics.circuitsOpen.inc();
      tellOpened(circuit);
    },
    onClosed: (circuit: OpenCircuit) => {
      metrics.circuitsOpen.dec();
      tellClosed(circuit);
    },
  };
}
