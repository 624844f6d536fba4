import { forEachConcurrently } from '@punctual/e2e';
import { waitUntil } from '@punctual/testkit';
import type { CaseContext, ChaosCase } from '../chaos-case.ts';
import { type AcknowledgedPause, judgePauses, type MappedRun } from '../judge/judge-workflows.ts';
import { killDuring } from './kills.ts';

const ROUNDS = 20;
const ROUNDS_SHORT = 2;
const RUNS_PER_ROUND = 30;
/** Tasks come due one second after the other, so that each pause finds some that do. */
const SECONDS = [1, 2, 3, 4];
const TASK_KEYS = SECONDS.map((value) => `at${value}`);
/** How long a pause lasts (ms): longer than one that was not heeded would stay unnoticed. */
const PAUSE_MS = 2_500;
const TIMEOUT_MS = 5_000;
const MARGIN_MS = 2_000;
const READS_AT_ONCE = 8;
const LIMIT_MS = 120_000;

/** A workflow that is paused and resumed again and again. */
export const pauses: readonly ChaosCase[] = [
  {
    name: 'pause:kills',
    summary: `a workflow is paused and resumed ${ROUNDS} times, while apis, schedulers and workers are killed by turns`,
    isInTests: true,
    system: { api: 2, env: { WORKER_LEASE_MARGIN_MS: String(MARGIN_MS) } },
    allowsRepeats: true,
    async fault(context) {
      const acknowledged: AcknowledgedPause[] = [];
      const runIds = new Set<string>();
      const workflowId = await createWorkflow(context);
      const pauseAndResume = async () => {
        for (let round = 0; round < context.choose(ROUNDS, ROUNDS_SHORT); round += 1) {
          acknowledged.push(await pauseOnce(context, workflowId, round, runIds));
        }
      };
      await killDuring(context, ['api', 'scheduler', 'worker'], pauseAndResume());
      context.judgeAtEnd(async ({ deliveries, api }) => {
        const runs: MappedRun[] = [];
        await forEachConcurrently([...runIds], READS_AT_ONCE, async (id) => {
          runs.push(await api.expect<MappedRun>([200], 'GET', `/v1/runs/${id}`));
        });
        return judgePauses(acknowledged, runs, TASK_KEYS, deliveries);
      });
    },
  },
];

async function createWorkflow({ traffic, receivers }: CaseContext): Promise<string> {
  const tasks = SECONDS.map((value) => ({
    key: `at${value}`,
    delay: { type: 'duration', value, unit: 'seconds' },
    action: { type: 'http', url: receivers.urls.good },
    timeoutMs: TIMEOUT_MS,
  }));
  const body = { name: 'paused', tasks };
  const answer = await traffic.asker.ask<{ id: string }>('POST', '/v1/workflows', [201], body, 'chaos-paused');
  if (answer === undefined) throw new Error('no workflow could be made');
  return answer.body.id;
}

/** Begins runs, pauses their workflow when the first of them is under way, and resumes it. */
async function pauseOnce(
  { traffic: { asker }, receivers, last }: CaseContext,
  workflowId: string,
  round: number,
  runIds: Set<string>,
): Promise<AcknowledgedPause> {
  const runs = Array.from({ length: RUNS_PER_ROUND }, (_, n) => ({ externalId: `paused-${round}-${n}` }));
  const body = { workflowId, runs };
  const begun = await asker.ask<{ results: { run: { id: string } }[] }>('POST', '/v1/runs/batch', [207], body);
  const own = new Set((begun?.body.results ?? []).map(({ run }) => run.id));
  for (const id of own) runIds.add(id);
  const isOwn = (id: string | null) => id !== null && own.has(id);
  const isUnderWay = () => receivers.deliveries.some((delivery) => isOwn(delivery.body.runId));
  await waitUntil('the first task is delivered', isUnderWay, LIMIT_MS);
  const paused = await asker.ask('POST', `/v1/workflows/${workflowId}/pause`, [200]);
  if (paused === undefined) throw new Error('the workflow could not be paused');
  await last(PAUSE_MS);
  const resumedAt = Date.now();
  await asker.ask('POST', `/v1/workflows/${workflowId}/resume`, [200], { ratePerSecond: 1_000 });
  return { runIds: new Set(runIds), ackAt: paused.at, resumedAt };
}
