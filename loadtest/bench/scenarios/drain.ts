import type { Child } from '../child.ts';
import type { Engine } from '../engines/engine.ts';
import type { SinkStats } from '../sink.ts';
import { type Cost, findFaults, readMemory, startCostClock, waitForDeliveries } from './measure.ts';

export interface DrainResult extends Cost {
  timers: number;
  timersPerSecond: number;
  createdPerSecondInBatches: number;
  /** Database, and Redis, by timer: while all of them wait, and when all are delivered, history included; write-ahead log. */
  bytesPerTimer: {
    waiting: number;
    delivered: number;
    redisWaiting: number;
    walOfCreate: number;
    walOfDelivery: number;
  };
  memoryMegabytes: Record<string, number>;
  faults: string[];
}

/** Before the measured part, so that nothing is cold. */
const WARM_UP_TIMERS = 5_000;

/**
 * What looks for due timers stands still (SIGSTOP) while they are put in, and goes on when all of them are due: what is
 * measured is the way from the database to the endpoint, with every process warm.
 */
export async function drain(engine: Engine, sink: Child, timers: number): Promise<DrainResult> {
  await engine.putDue(WARM_UP_TIMERS);
  await waitForDeliveries(sink, WARM_UP_TIMERS);
  await sink.ask('reset');
  engine.pause();
  const empty = await engine.readSizes();
  const putAt = performance.now();
  await engine.putDue(timers);
  const putSeconds = (performance.now() - putAt) / 1000;
  const full = await engine.readSizes();
  const early = await sink.ask<SinkStats>('stats');
  const readCost = startCostClock(engine);
  engine.resume();
  await waitForDeliveries(sink, timers);
  const cost = readCost(timers);
  const stats = await sink.ask<SinkStats>('stats');
  const end = await engine.readSizes();
  const perTimer = (bytes: number) => Math.round(bytes / timers);
  return {
    timers,
    timersPerSecond: Math.round((stats.timers / (stats.lastAt - stats.firstAt)) * 1000),
    createdPerSecondInBatches: Math.round(timers / putSeconds),
    ...cost,
    bytesPerTimer: {
      waiting: perTimer(full.databaseBytes - empty.databaseBytes),
      delivered: perTimer(end.databaseBytes - empty.databaseBytes),
      redisWaiting: perTimer(full.redisBytes - empty.redisBytes),
      walOfCreate: perTimer(full.walBytes - empty.walBytes),
      walOfDelivery: perTimer(end.walBytes - full.walBytes),
    },
    memoryMegabytes: readMemory(engine),
    faults: [
      ...(await findFaults(engine, stats, timers)),
      ...(early.requests > 0 ? [`${early.requests} were delivered before the clock started`] : []),
    ],
  };
}
