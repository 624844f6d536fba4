import { runClosedLoop } from '../client.ts';
import { BATCH_TIMERS, PAYLOAD } from '../engines/engine.ts';
import type { OwnScenario } from './own-scenario.ts';

const SINGLES_AT_ONCE = 128;
const BATCHES_AT_ONCE = 6;
const A_DAY_MS = 86_400_000;

/** How fast one api process takes timers in. */
export const create: OwnScenario = {
  summary: '--count timers that sleep, in batches of 500, and a fifth as many one by one, into one api process',
  countDefault: 200_000,
  async run(engine, _sink, { count }) {
    const dueAt = new Date(Date.now() + A_DAY_MS).toISOString();
    const timer = { dueAt, action: { type: 'noop' }, payload: PAYLOAD };
    const one = JSON.stringify(timer);
    const batch = JSON.stringify({ timers: Array.from({ length: BATCH_TIMERS }, () => timer) });
    const createOne = () => engine.client.sendText('POST', '/v1/timers', one);
    const createBatch = () => engine.client.sendText('POST', '/v1/timers/batch', batch);
    await runClosedLoop(2_000, SINGLES_AT_ONCE, createOne);
    const singles = await runClosedLoop(Math.ceil(count / 5), SINGLES_AT_ONCE, createOne);
    await runClosedLoop(10, BATCHES_AT_ONCE, createBatch);
    const empty = await engine.readSizes();
    const batches = await runClosedLoop(Math.ceil(count / BATCH_TIMERS), BATCHES_AT_ONCE, createBatch);
    const full = await engine.readSizes();
    return {
      figures: {
        'one by one, timers/s': singles.perSecond,
        'p50 ms': singles.p50,
        'p99 ms': singles.p99,
        'in batches, timers/s': batches.perSecond * BATCH_TIMERS,
        'bytes/timer asleep': Math.round((full.databaseBytes - empty.databaseBytes) / (batches.count * BATCH_TIMERS)),
      },
      faults: await engine.check(),
    };
  },
};
