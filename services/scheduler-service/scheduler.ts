import { hostname } from 'node:os';
import {
  checkDatabaseReady,
  connectDatabase,
  DatabaseClock,
  readPartitionCount,
  WorkflowVersions,
} from '@punctual/database';
import { createId } from '@punctual/domain';
import { ChunkQueue, describeOutage } from '@punctual/queue';
import {
  type Health,
  type Logger,
  limitRate,
  OUTAGE_LOG_INTERVAL_MS,
  openOps,
  openTracing,
  VERSION,
} from '@punctual/runtime';
import type { Registry } from 'prom-client';
import type { SchedulerConfig } from './config.ts';
import { DatabaseWatch } from './database-watch.ts';
import { DispatchTraces } from './dispatch-traces.ts';
import { Dispatcher } from './dispatcher.ts';
import { DueForecast } from './due-forecast.ts';
import { LaneKeeper } from './lane-keeper.ts';
import { createSchedulerMetrics } from './metrics.ts';
import { PartitionManager } from './partition-manager.ts';
import { Pruner } from './pruner.ts';
import { PullAnnouncer } from './pull-announcer.ts';
import { ReadAhead } from './read-ahead.ts';
import { RecentHints } from './recent-hints.ts';
import { RetentionKeeper } from './retention-keeper.ts';
import { RunReviewer } from './run-reviewer.ts';

export interface SchedulerOptions {
  config: SchedulerConfig;
  logger: Logger;
  /** The health and metrics of the process that hosts this scheduler with others; absent: its own, on its own port. */
  shared?: { health: Health; registry: Registry };
}

export interface RunningScheduler {
  id: string;
  /** Port of health and metrics; undefined where the caller serves them. */
  port: number | undefined;
  stop(): Promise<void>;
}

/**
 * Starts a scheduler: partitions, read ahead, dispatch, and the keeping of tables. Rejects with a plain sentence when
 * migrations are pending. It stops in the order in which work flows: no more reads, hand-overs under way end, then
 * partitions are given back and connections closed.
 */
export async function startScheduler({ config, logger, shared }: SchedulerOptions): Promise<RunningScheduler> {
  const opening = openOps('scheduler', VERSION, { host: config.HOST, port: config.PORT }, shared);
  const { health } = opening;
  const metrics = createSchedulerMetrics(opening.registry);
  const warnSeldom = limitRate(
    (error: Error, text: string) => logger.warn({ err: error }, text),
    OUTAGE_LOG_INTERVAL_MS,
  );
  const database = connectDatabase({
    connectionString: config.DATABASE_URL,
    pooler: config.DATABASE_POOLER,
    applicationName: 'punctual-scheduler',
    poolSizeMax: config.SCHEDULER_POOL_SIZE,
    onIdleError: (error) => warnSeldom(error, 'lost a connection to Postgres; the pool makes another'),
  });
  let queue: ChunkQueue | undefined;
  try {
    await checkDatabaseReady(database);
    const partitionCount = await readPartitionCount(database);
    const clock = new DatabaseClock();
    const chunks = new ChunkQueue(
      {
        redisUrl: config.REDIS_URL,
        redisPrefix: config.REDIS_PREFIX,
        queueCount: config.QUEUE_COUNT,
        databaseUrl: config.DATABASE_URL,
      },
      (error) => warnSeldom(error, describeOutage(config)),
    );
    queue = chunks;
    await chunks.checkTables();
    const tracing = await openTracing(config, { name: 'punctual-scheduler', version: VERSION });
    const traces =
      tracing &&
      new DispatchTraces({
        tracing,
        database,
        onError: (error) => warnSeldom(error as Error, 'could not look up traces; dispatches go untraced'),
      });
    const recent = new RecentHints();
    const dispatcher = new Dispatcher({
      queue: chunks,
      clock,
      windowMs: config.SCHEDULER_DISPATCH_WINDOW_MS,
      queueChunksMax: config.SCHEDULER_QUEUE_CHUNKS_MAX,
      onLost: (hints) => {
        for (const hint of hints) recent.remove(hint);
      },
      ...(traces && { onHandOver: (hints, handedOver) => void traces.follow(hints, handedOver) }),
      metrics,
      logger,
    });
    const id = createId();
    const partitions = new PartitionManager({
      database,
      instance: { id, role: 'scheduler', host: hostname(), pid: process.pid, version: VERSION, details: {} },
      leaseTtlMs: config.SCHEDULER_LEASE_TTL_MS,
      renewIntervalMs: config.SCHEDULER_LEASE_RENEW_MS,
      metrics,
      logger,
    });
    const readAhead = new ReadAhead({
      database,
      clock,
      listPartitions: () => partitions.listRead(),
      dispatcher,
      recent,
      intervalMs: config.SCHEDULER_READ_INTERVAL_MS,
      lookAheadMs: config.SCHEDULER_LOOK_AHEAD_MS,
      rowsMax: config.SCHEDULER_READ_ROWS_MAX,
      sweepIntervalMs: config.SCHEDULER_SWEEP_INTERVAL_MS,
      redispatchAfterMs: config.SCHEDULER_REDISPATCH_AFTER_MS,
      metrics,
      logger,
    });
    const announcer = new PullAnnouncer({
      database,
      clock,
      listPartitions: () => partitions.listRead(),
      intervalMs: config.SCHEDULER_READ_INTERVAL_MS,
      metrics,
      logger,
    });
    const forecast = new DueForecast({ database, listOwned: () => partitions.listOwned(), metrics, logger });
    const laneKeeper = new LaneKeeper({ database, metrics, logger });
    const { RETENTION_DAYS: retentionDays, RETENTION_INTERVAL_MS: retentionMs } = config;
    const letterDays = config.DEAD_LETTER_RETENTION_DAYS ?? retentionDays;
    const pruner = new Pruner({ database, clock, retentionDays, daysIntervalMs: retentionMs, metrics, logger });
    // What one of all schedulers does is done by the owner of the first partition.
    const isLeading = () => partitions.listOwned().includes(0);
    const retention = new RetentionKeeper({
      database,
      isLeading,
      retention: { days: retentionDays, letterDays },
      intervalMs: retentionMs,
      metrics,
      logger,
    });
    const reviewer = new RunReviewer({
      database,
      versions: new WorkflowVersions(),
      isLeading,
      intervalMs: config.SCHEDULER_REVIEW_INTERVAL_MS,
      metrics,
      logger,
    });
    const watch = new DatabaseWatch({
      database,
      isLeading,
      intervalMs: config.SCHEDULER_FIGURES_INTERVAL_MS,
      metrics,
      logger,
    });

    health.addCheck('postgres', true, async () => {
      await database.ordinary.query('SELECT 1');
      return { status: 'ok' };
    });
    health.addCheck('queue', false, async () => ({ ...(await chunks.readFigures()) }));
    const aside = [forecast, laneKeeper, pruner, retention, reviewer, watch];
    for (const role of [partitions, readAhead, announcer, ...aside]) health.addLoop(role.loop);
    const ops = await opening.listen();

    dispatcher.start();
    partitions.start();
    readAhead.start();
    announcer.start();
    for (const role of aside) role.start();
    health.markStarted();
    logger.info({ schedulerId: id, port: ops.port, partitionCount, queue: chunks.backend }, 'the scheduler is running');

    let stopping: Promise<void> | undefined;
    const stop = async () => {
      health.markDraining();
      // First, and beside what reads: until the others have them, this scheduler's partitions are read by it.
      await partitions.stop();
      await Promise.all([readAhead, announcer, ...aside].map((role) => role.stop()));
      await dispatcher.stop();
      await tracing?.stop();
      await chunks.close();
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
    await queue?.close();
    await database.close();
    throw error;
  }
}
