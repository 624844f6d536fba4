import type { Child } from '../child.ts';
import type { Engine } from '../engines/engine.ts';
import type { CreatorResult } from '../open-loop.ts';
import type { SinkStats } from '../sink.ts';
import { type Cost, findFaults, readMemory, startCostClock, waitForDeliveries } from './measure.ts';

export interface SteadyResult extends Cost {
  rate: number;
  seconds: number;
  creates: CreatorResult;
  latenessMs: SinkStats['lateness'];
  deliveredPerSecond: number;
  /** By how much the database grew, by timer: all of them are history at the end. */
  diskBytesPerTimer: number;
  memoryMegabytes: Record<string, number>;
  faults: string[];
}

/** Before the measured part, so that nothing is cold (s). */
const WARM_UP_SECONDS = 5;

/** So many creates, one by one, and as many deliveries a second, open loop. */
export async function steady(engine: Engine, sink: Child, rate: number, seconds: number): Promise<SteadyResult> {
  await sink.ask('reset');
  const warm = await engine.create(rate, WARM_UP_SECONDS);
  await waitForDeliveries(sink, warm.created);
  await sink.ask('reset');
  const { databaseBytes: bytesBefore } = await engine.readSizes();
  const readCost = startCostClock(engine);
  const creates = await engine.create(rate, seconds);
  await waitForDeliveries(sink, creates.created);
  const cost = readCost(creates.created);
  const stats = await sink.ask<SinkStats>('stats');
  const { databaseBytes: bytesAfter } = await engine.readSizes();
  return {
    rate,
    seconds,
    creates,
    latenessMs: stats.lateness,
    deliveredPerSecond: Math.round((stats.timers / (stats.lastAt - stats.firstAt)) * 1000),
    ...cost,
    diskBytesPerTimer: Math.round((bytesAfter - bytesBefore) / creates.created),
    memoryMegabytes: readMemory(engine),
    faults: [
      ...(await findFaults(engine, stats, creates.created)),
      ...(creates.refused > 0 ? [`${creates.refused} creates were refused`] : []),
    ],
  };
}
