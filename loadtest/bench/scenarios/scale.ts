import { join } from 'node:path';
import { Child } from '../child.ts';
import type { PunctualEngine } from '../engines/punctual.ts';
import type { SinkStats } from '../sink.ts';
import { findFaults, startCostClock, waitForDeliveries } from './measure.ts';
import type { OwnScenario } from './own-scenario.ts';

const SINK = join(import.meta.dirname, '../sink.ts');
/** An answer takes so long (ms), so that workers wait and the cores are not the limit. */
const ANSWER_MS = 100;
/** So many origins that none is what a worker waits for. */
const ORIGINS = 16;
/** Attempts under way at once of one worker that the queue brings: with the answers above, what bounds it to 1,280 a second. */
const ATTEMPTS_AT_ONCE = 128;
const WORKERS = [1, 2, 4, 8];
const SCHEDULERS = [2, 4];
const PARTITIONS_SHARED_LIMIT_MS = 20_000;
const POLL_MS = 50;

/** The rate of more and more workers, and how schedulers that come share the partitions. */
export const scale: OwnScenario = {
  summary: `endpoints that take ${ANSWER_MS} ms: the rate of ${WORKERS.join(', ')} workers with one scheduler, then of ${SCHEDULERS.join(' and ')} schedulers; --seconds each`,
  countDefault: 1,
  secondsDefault: 20,
  env: { WORKER_ATTEMPTS_MAX: String((ATTEMPTS_AT_ONCE * 3) / 2), WORKER_ATTEMPTS_PER_ORIGIN: '32' },
  async run(engine, _sink, { seconds, log }) {
    const sink = new Child(SINK, [String(ANSWER_MS), String(ORIGINS)]);
    const figures: Record<string, number> = {};
    const faults: string[] = [];
    try {
      const { port } = await sink.read<{ port: number }>();
      const urls = Array.from({ length: ORIGINS }, (_, index) => `http://127.0.0.${index + 1}:${port}/hook`);
      const measure = async (name: string, workers: number) => {
        log(`${name} …`);
        const count = Math.round((workers * ATTEMPTS_AT_ONCE * seconds * 1000) / ANSWER_MS);
        const { rate, cores } = await drainInto(engine, sink, urls, count, faults);
        figures[`${name}: timers/s`] = rate;
        figures[`${name}: cores busy`] = cores;
        return rate;
      };
      let before: number | undefined;
      let running = 1;
      for (const workers of WORKERS) {
        for (; running < workers; running += 1) await engine.add('worker');
        const rate = await measure(`${workers} workers`, workers);
        if (before !== undefined) figures[`${workers} workers: ratio to half as many`] = rate / before;
        before = rate;
      }
      let schedulers = 1;
      for (const wanted of SCHEDULERS) {
        let cameAt = 0;
        for (; schedulers < wanted; schedulers += 1) {
          await engine.add('scheduler');
          cameAt = performance.now();
        }
        const { most, least } = await waitUntilShared(engine, wanted);
        figures[`${wanted} schedulers: partitions shared after ms`] = Math.round(performance.now() - cameAt);
        figures[`${wanted} schedulers: most partitions of one`] = most;
        figures[`${wanted} schedulers: fewest`] = least;
        await measure(`${wanted} schedulers`, running);
      }
    } finally {
      sink.stop();
    }
    return { figures, faults };
  },
};

async function drainInto(
  engine: PunctualEngine,
  sink: Child,
  urls: readonly string[],
  count: number,
  faults: string[],
) {
  await sink.ask('reset');
  engine.pause();
  await engine.putAt(count, Date.now(), urls);
  const readCost = startCostClock(engine);
  engine.resume();
  await waitForDeliveries(sink, count);
  const stats = await sink.ask<SinkStats>('stats');
  faults.push(...(await findFaults(engine, stats, count)));
  const rate = (stats.timers / (stats.lastAt - stats.firstAt)) * 1000;
  return { rate: Math.round(rate), cores: (readCost(stats.timers).cpuMicrosecondsPerTimer.total * rate) / 1e6 };
}

/** How many partitions the schedulers own that have most and fewest, once no two differ by more than one and none is free. */
async function waitUntilShared(engine: PunctualEngine, schedulers: number): Promise<{ most: number; least: number }> {
  const until = performance.now() + PARTITIONS_SHARED_LIMIT_MS;
  for (;;) {
    const { data } = await engine.client.send<{ data: { partitions: number[] }[] }>('GET', '/v1/schedulers');
    const counts = data.map(({ partitions }) => partitions.length).toSorted((a, b) => a - b);
    const [least = 0, most = 0] = [counts[0], counts.at(-1)];
    const isShared = counts.length === schedulers && most - least <= 1 && counts.reduce((sum, n) => sum + n, 0) >= 64;
    if (isShared || performance.now() > until) return { most, least };
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
