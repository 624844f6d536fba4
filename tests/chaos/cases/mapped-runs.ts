import { setTimeout as sleep } from 'node:timers/promises';
import { forEachConcurrently } from '@punctual/e2e';
import type { CaseContext, ChaosCase } from '../chaos-case.ts';
import { judgeMappedRuns, type MappedRun } from '../judge/judge-workflows.ts';
import { killDuring } from './kills.ts';

const RUNS = 400;
const RUNS_SHORT = 30;
/** Between the first requests of two runs (ms). */
const RUN_INTERVAL_MS = 100;
/** An attempt that died with its worker is begun again after as much, and the margin (ms). */
const TIMEOUT_MS = 5_000;
const MARGIN_MS = 2_000;
const READS_AT_ONCE = 8;
const ELEMENTS = [[0, 1, 2], [10, 11, 12], [], [20, 21]];

/** Runs of which tasks run once per element, and those once per element of theirs, while every service is killed. */
export const mappedRuns: readonly ChaosCase[] = [
  {
    name: 'mapped:kills',
    summary: `${RUNS} runs that map twice and join, while apis, schedulers and workers are killed by turns`,
    isInTests: true,
    system: { api: 2, env: { WORKER_LEASE_MARGIN_MS: String(MARGIN_MS) } },
    allowsRepeats: true,
    async fault(context) {
      const ids: string[] = [];
      const workflowId = await createWorkflow(context);
      const beginRun = async (n: number) => {
        const body = { workflowId, externalId: `mapped-${n}` };
        const answer = await context.traffic.asker.ask<{ id: string }>('POST', '/v1/runs', [200, 201], body);
        if (answer !== undefined) ids.push(answer.body.id);
      };
      const beginRuns = async () => {
        const begun: Promise<void>[] = [];
        for (let n = 0; n < context.choose(RUNS, RUNS_SHORT); n += 1) {
          begun.push(beginRun(n));
          await sleep(RUN_INTERVAL_MS);
        }
        await Promise.all(begun);
      };
      await killDuring(context, ['api', 'scheduler', 'worker'], beginRuns());
      context.judgeAtEnd(async ({ deliveries, api }) => {
        const runs: MappedRun[] = [];
        await forEachConcurrently(ids, READS_AT_ONCE, async (id) => {
          runs.push(await api.expect<MappedRun>([200], 'GET', `/v1/runs/${id}`));
        });
        return judgeMappedRuns(runs, deliveries, ELEMENTS);
      });
    },
  },
];

async function createWorkflow({ traffic, receivers }: CaseContext): Promise<string> {
  const action = { type: 'http', url: receivers.urls.good };
  const each = { type: 'noop', output: '{{ item }}' };
  const tasks = [
    { key: 'split', action: { type: 'noop', output: ELEMENTS } },
    { key: 'map', forEach: { task: 'split', path: '' }, action: each },
    { key: 'leaf', forEach: { task: 'map', path: '' }, action },
    { key: 'echo', in: 'leaf', after: ['leaf'], action: each },
    { key: 'reduce', in: 'map', after: ['echo'], action: { type: 'noop', output: '{{ inputs.echo }}' } },
    { key: 'join', after: ['reduce'], action },
  ];
  const body = { name: 'mapped', tasks: tasks.map((task) => ({ ...task, timeoutMs: TIMEOUT_MS })) };
  const answer = await traffic.asker.ask<{ id: string }>('POST', '/v1/workflows', [201], body, 'chaos-mapped');
  if (answer === undefined) throw new Error('no workflow could be made');
  return answer.body.id;
}
