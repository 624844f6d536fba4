import { runClosedLoop } from '../client.ts';
import { PAYLOAD } from '../engines/engine.ts';
import type { OwnScenario } from './own-scenario.ts';

const SINGLES_AT_ONCE = 128;
const BATCHES_AT_ONCE = 4;
const EDIT_BATCH = 1_000;
const A_DAY_MS = 86_400_000;

/** How fast sleeping timers are moved and cancelled. */
export const edit: OwnScenario = {
  summary:
    '--count sleeping timers moved and then cancelled: a fifth of them one by one, the others in batches of 1,000',
  countDefault: 100_000,
  async run(engine, _sink, { count }) {
    const at = (ms: number) => new Date(Date.now() + ms).toISOString();
    const timer = { dueAt: at(A_DAY_MS), action: { type: 'noop' }, payload: PAYLOAD };
    const ids: string[] = [];
    await runClosedLoop(Math.ceil(count / EDIT_BATCH), BATCHES_AT_ONCE, async () => {
      const { results } = await engine.client.send<{ results: { timer: { id: string } }[] }>(
        'POST',
        '/v1/timers/batch',
        {
          timers: Array.from({ length: EDIT_BATCH }, () => timer),
        },
      );
      ids.push(...results.map((result) => result.timer.id));
    });
    const singles = ids.slice(0, Math.ceil(count / 5));
    const batches: string[][] = [];
    for (let from = singles.length; from < ids.length; from += EDIT_BATCH)
      batches.push(ids.slice(from, from + EDIT_BATCH));
    const dueAt = at(2 * A_DAY_MS);
    const change = JSON.stringify({ dueAt });
    let refused = 0;
    const countRefused = ({ results }: { results: { status: number }[] }) => {
      refused += results.filter(({ status }) => status !== 200).length;
    };
    const moved = await runClosedLoop(singles.length, SINGLES_AT_ONCE, (index) =>
      engine.client.sendText('PATCH', `/v1/timers/${singles[index]}`, change),
    );
    const movedInBatches = await runClosedLoop(batches.length, BATCHES_AT_ONCE, async (index) =>
      countRefused(
        await engine.client.send('PATCH', '/v1/timers/batch', { timers: batches[index]!.map((id) => ({ id, dueAt })) }),
      ),
    );
    const cancelled = await runClosedLoop(singles.length, SINGLES_AT_ONCE, (index) =>
      engine.client.sendText('POST', `/v1/timers/${singles[index]}/cancel`),
    );
    const cancelledInBatches = await runClosedLoop(batches.length, BATCHES_AT_ONCE, async (index) =>
      countRefused(await engine.client.send('POST', '/v1/timers/batch/cancel', { ids: batches[index]! })),
    );
    return {
      figures: {
        'moved one by one, timers/s': moved.perSecond,
        'p99 ms': moved.p99,
        'moved in batches, timers/s': movedInBatches.perSecond * EDIT_BATCH,
        'cancelled one by one, timers/s': cancelled.perSecond,
        'cancelled in batches, timers/s': cancelledInBatches.perSecond * EDIT_BATCH,
      },
      faults: [...(refused > 0 ? [`${refused} of a batch were refused`] : []), ...(await engine.check())],
    };
  },
};
