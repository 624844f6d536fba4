import { runClosedLoop } from '../client.ts';
import { percentile } from '../percentile.ts';
import { withProgress } from '../progress.ts';
import type { OwnScenario } from './own-scenario.ts';

const RUNS_PER_BATCH = 500;
const BATCHES_AT_ONCE = 4;
/** Pauses and resumes, one after the other. */
const ROUNDS = 20;

/** How soon a workflow with many sleeping timers is paused, resumed, and cancelled as a whole. */
export const pause: OwnScenario = {
  summary: `a workflow of which --count runs sleep: paused and resumed ${ROUNDS} times, then cancelled`,
  countDefault: 1_000_000,
  async run(engine, _sink, { count, log }) {
    const { client } = engine;
    const tasks = [{ key: 'later', delay: { type: 'duration', value: 1, unit: 'days' }, action: { type: 'noop' } }];
    const { id } = await client.send<{ id: string }>('POST', '/v1/workflows', { name: 'asleep', tasks });
    let stored = 0;
    const putRuns = () =>
      runClosedLoop(Math.ceil(count / RUNS_PER_BATCH), BATCHES_AT_ONCE, async (index) => {
        const size = Math.min(RUNS_PER_BATCH, count - index * RUNS_PER_BATCH);
        await client.send('POST', '/v1/runs/batch', { workflowId: id, runs: Array.from({ length: size }, () => ({})) });
        stored += size;
      });
    await withProgress(log, () => `${stored} of ${count} runs are asleep`, putRuns);
    const time = async <Answer>(method: 'GET' | 'POST', path: string) => {
      const beganAt = performance.now();
      const answer = await client.send<Answer>(method, path);
      return { answer, ms: performance.now() - beganAt };
    };
    const faults: string[] = [];
    const pauses: number[] = [];
    const resumes: number[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      const paused = await time<{ status: string }>('POST', `/v1/workflows/${id}/pause`);
      pauses.push(paused.ms);
      const gates = await client.send<{ data: { name: string }[] }>('GET', '/v1/gates');
      if (paused.answer.status !== 'paused' || !gates.data.some(({ name }) => name === id))
        faults.push(`pause ${round} was answered without being there`);
      const resumed = await time<{ status: string }>('POST', `/v1/workflows/${id}/resume`);
      resumes.push(resumed.ms);
      if (resumed.answer.status !== 'active') faults.push(`resume ${round} left the workflow ${resumed.answer.status}`);
    }
    const cancelled = await time<{ id: string; status: string }>('POST', `/v1/workflows/${id}/cancel`);
    const beganAt = performance.now();
    let operation: { status: string; done: number } = { status: cancelled.answer.status, done: 0 };
    const waitForEnd = async () => {
      while (operation.status === 'running') {
        await new Promise((resolve) => setTimeout(resolve, 200));
        operation = await client.send('GET', `/v1/bulk-operations/${cancelled.answer.id}`);
      }
    };
    await withProgress(log, () => `${operation.done} of ${count} runs are cancelled`, waitForEnd);
    const seconds = (performance.now() - beganAt) / 1000;
    if (operation.status !== 'succeeded' || operation.done !== count)
      faults.push(`the cancel came to ${JSON.stringify(operation)}`);
    const { total } = await client.send<{ total: { cancelled: number } }>('GET', '/v1/ledger');
    if (total.cancelled !== count) faults.push(`${total.cancelled} of ${count} timers are cancelled`);
    const sorted = (times: readonly number[]) => times.toSorted((a, b) => a - b);
    return {
      figures: {
        'pause p50 ms': percentile(sorted(pauses), 0.5),
        'pause max ms': Math.max(...pauses),
        'resume p50 ms': percentile(sorted(resumes), 0.5),
        'resume max ms': Math.max(...resumes),
        'cancel answered, ms': cancelled.ms,
        'all cancelled, runs/s': Math.round(count / seconds),
      },
      faults: [...faults, ...(await engine.check())],
    };
  },
};
