import { join } from 'node:path';
import { Child } from '../child.ts';
import type { PunctualEngine } from '../engines/punctual.ts';
import type { SinkStats } from '../sink.ts';
import { findFaults, readMemory, startCostClock, waitForDeliveries } from './measure.ts';
import type { OwnScenario } from './own-scenario.ts';

const SMALL_TENANTS = 100;
/** Of all small tenants together. */
const SMALL_RATE = 50;
const QUIET_SECONDS = 20;
/** At which the herd is put in at least; its instant is chosen so that all of it is there by then. */
const PUT_RATE_MIN = 12_000;
/** At which it is drained at least, for the small tenants to go on until its end. */
const DRAIN_RATE_MIN = 8_000;
const MARGIN_MS = 10_000;
const SINK = join(import.meta.dirname, '../sink.ts');

/** One tenant's timers due at one instant, while small tenants go on as before. */
export const herd: OwnScenario = {
  summary: `--count timers of one tenant due at one instant, beside ${SMALL_TENANTS} tenants with ${SMALL_RATE} a second`,
  countDefault: 1_000_000,
  async run(engine, sink, { count }) {
    const keys = await createTenants(engine, SMALL_TENANTS);
    const smallSink = new Child(SINK);
    try {
      const { port } = await smallSink.read<{ port: number }>();
      const smallUrl = `http://127.0.0.1:${port}/hook`;
      const quiet = await runSmall(engine, smallSink, keys, smallUrl, QUIET_SECONDS);

      const instant = Date.now() + (count / PUT_RATE_MIN) * 1000 + MARGIN_MS;
      await engine.putAt(count, instant);
      const faults = Date.now() > instant ? ['the herd was not all there at its instant'] : [];
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, instant - Date.now())));
      const readCost = startCostClock(engine);
      const small = runSmall(engine, smallSink, keys, smallUrl, Math.ceil(count / DRAIN_RATE_MIN));
      await waitForDeliveries(sink, count);
      const cost = readCost(count);
      const stats = await sink.ask<SinkStats>('stats');
      const busy = await small;
      return {
        figures: {
          'herd, timers/s': Math.round((count / (stats.lastAt - instant)) * 1000),
          'CPU µs/timer': cost.cpuMicrosecondsPerTimer.total,
          'small tenants quiet, p95 ms': quiet.lateness.p95,
          'small tenants beside the herd, p50 ms': busy.lateness.p50,
          'p95 ms': busy.lateness.p95,
          'p99 ms': busy.lateness.p99,
          'max ms': busy.lateness.max,
          'largest process, MB': Math.max(...Object.values(readMemory(engine))),
          'stolen %': Math.round(cost.stolenShare * 100),
        },
        faults: [...faults, ...(await findFaults(engine, stats, count)), ...quiet.faults, ...busy.faults],
      };
    } finally {
      smallSink.stop();
    }
  },
};

async function createTenants(engine: PunctualEngine, count: number): Promise<string[]> {
  const keys: string[] = [];
  for (let number = 1; number <= count; number += 1) {
    const tenant = await engine.client.send<{ id: string }>('POST', '/v1/tenants', { name: `small ${number}` });
    const { key } = await engine.client.send<{ key: string }>('POST', '/v1/api-keys', {
      tenantId: tenant.id,
      name: 'bench',
      scope: 'write',
    });
    keys.push(key);
  }
  return keys;
}

async function runSmall(
  engine: PunctualEngine,
  smallSink: Child,
  keys: readonly string[],
  url: string,
  seconds: number,
): Promise<SinkStats & { faults: string[] }> {
  await smallSink.ask('reset');
  const { created, refused } = await engine.createFor(keys, url, SMALL_RATE, seconds);
  await waitForDeliveries(smallSink, created);
  const stats = await smallSink.ask<SinkStats>('stats');
  const faults: string[] = [];
  if (refused > 0) faults.push(`${refused} creates of small tenants were refused`);
  if (stats.timers !== created) faults.push(`${created - stats.timers} timers of small tenants were not delivered`);
  if (stats.duplicates > 0 || stats.early > 0) faults.push('timers of small tenants came early or twice');
  return { ...stats, faults };
}
