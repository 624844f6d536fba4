import { join } from 'node:path';
import type { AffinityStats } from '../affinity-sink.ts';
import { Child } from '../child.ts';
import { startCostClock, waitForDeliveries } from './measure.ts';
import type { OwnScenario } from './own-scenario.ts';

const KEYS = 100;
/** An answer takes so long (ms), so that every moment finds many under way. */
const ANSWER_MS = 10;
const BATCH = 1_000;
/** From one due time of a key to the next (ms). */
const DUE_STEP_MS = 5;
/** A worker is killed about so often (ms), while more than half of them are left. */
const KILL_INTERVAL_MS = 1_500;
const TIMEOUT_MS = 1_000;
const END_LIMIT_MS = 60_000;
const SINK = join(import.meta.dirname, '../affinity-sink.ts');

/** Tasks of many keys, of which each runs one at a time, while workers die. */
export const affinity: OwnScenario = {
  summary: `--count timers over ${KEYS} concurrency keys, while half of the workers are killed one after the other (--workers 20)`,
  countDefault: 10_000,
  env: { WORKER_LEASE_MARGIN_MS: '1000', WORKER_POOL_SIZE: '4' },
  async run(engine, _sink, { count, log }) {
    const sink = new Child(SINK, [String(ANSWER_MS)]);
    try {
      const { port } = await sink.read<{ port: number }>();
      const dueAt = Date.now() + 5_000;
      for (let stored = 0; stored < count; stored += BATCH) {
        const timers = Array.from({ length: Math.min(BATCH, count - stored) }, (_, offset) => {
          const index = stored + offset;
          const key = `key-${index % KEYS}`;
          return {
            dueAt: new Date(dueAt + Math.floor(index / KEYS) * DUE_STEP_MS).toISOString(),
            action: { type: 'http', url: `http://127.0.0.1:${port}/${key}` },
            timeoutMs: TIMEOUT_MS,
            concurrency: { key, limit: 1 },
          };
        });
        await engine.client.send('POST', '/v1/timers/batch', { timers });
      }
      const faults = Date.now() > dueAt ? ['not all timers were stored before the first was due'] : [];
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, dueAt - Date.now())));
      const readCost = startCostClock(engine);
      const beganAt = performance.now();
      const killing = killWorkers(engine.listPids(), log);
      await waitForDeliveries(sink, count);
      const seconds = (performance.now() - beganAt) / 1000;
      const killed = killing.stop();
      const cost = readCost(count);
      // The last outcomes, and those that are begun again because their workers died.
      const live = await waitUntilNothingIsLive(engine.client);
      const stats = await sink.ask<AffinityStats>('stats');
      if (live > 0) faults.push(`${live} timers have not ended`);
      if (stats.timers !== count) faults.push(`${count - stats.timers} timers were not delivered`);
      if (stats.overlaps > 0) faults.push(`${stats.overlaps} requests overlapped with another of their key`);
      if (stats.outOfOrder > 0) faults.push(`${stats.outOfOrder} timers came behind one that was due later`);
      return {
        figures: {
          seconds: Math.round(seconds * 10) / 10,
          'timers/s': Math.round(count / seconds),
          'CPU µs/timer': cost.cpuMicrosecondsPerTimer.total,
          'workers killed': killed,
          'requests sent again': stats.requests - stats.timers,
          overlaps: stats.overlaps,
          'overlaps with a killed worker’s request': stats.overlapsWithKilled,
          'out of order': stats.outOfOrder,
          'stolen %': Math.round(cost.stolenShare * 100),
        },
        faults: [...faults, ...(await engine.check())],
      };
    } finally {
      sink.stop();
    }
  },
};

/** Kills one worker after the other, chosen by chance, at moments chosen by chance, until half of them are left. */
function killWorkers(pids: Record<string, number>, log: (line: string) => void): { stop(): number } {
  const workers = Object.entries(pids).filter(([name]) => name.startsWith('worker'));
  const most = Math.floor(workers.length / 2);
  let killed = 0;
  let timer: NodeJS.Timeout | undefined;
  const plan = () => {
    if (killed < most) timer = setTimeout(kill, KILL_INTERVAL_MS * (0.5 + Math.random()));
  };
  const kill = () => {
    const [[name, pid]] = workers.splice(Math.floor(Math.random() * workers.length), 1) as [[string, number]];
    process.kill(pid, 'SIGKILL');
    killed += 1;
    log(`killed ${name}`);
    plan();
  };
  plan();
  return {
    stop: () => {
      clearTimeout(timer);
      return killed;
    },
  };
}

async function waitUntilNothingIsLive(client: { send<T>(method: string, path: string): Promise<T> }): Promise<number> {
  const deadline = performance.now() + END_LIMIT_MS;
  for (;;) {
    const { count } = await client.send<{ count: number }>('GET', '/v1/timers/count?status=scheduled,running,paused');
    if (count === 0 || performance.now() > deadline) return count;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}
