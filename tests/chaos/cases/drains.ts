import type { CaseContext, ChaosCase } from '../chaos-case.ts';
import { killDuring } from './kills.ts';

const ROUNDS = 30;
const ROUNDS_SHORT = 4;
/** How long one stays drained (ms). */
const DRAINED_MS = 1_500;

/** Workers and schedulers that operators drain and resume. */
export const drains: readonly ChaosCase[] = [
  {
    name: 'drain:kills',
    summary: `workers and schedulers are drained and resumed ${ROUNDS} times, while apis, schedulers and workers are killed by turns`,
    system: { api: 2, scheduler: 2, worker: 2 },
    allowsRepeats: true,
    async fault(context) {
      const drainAndResume = async () => {
        for (let round = 0; round < context.choose(ROUNDS, ROUNDS_SHORT); round += 1) {
          await drainOnce(context, round % 2 === 0 ? 'workers' : 'schedulers');
        }
      };
      await killDuring(context, ['api', 'scheduler', 'worker'], drainAndResume());
    },
  },
];

// One that is killed meanwhile is not found any more, and the last that works is refused: both are answers.
async function drainOnce(
  { traffic: { asker }, random, last }: CaseContext,
  kind: 'workers' | 'schedulers',
): Promise<void> {
  const list = await asker.ask<{ data: { id: string }[] }>('GET', `/v1/${kind}`, [200]);
  const instances = list?.body.data ?? [];
  const chosen = instances[Math.floor(random() * instances.length)];
  if (!chosen) return;
  await asker.ask('POST', `/v1/${kind}/${chosen.id}/drain`, [200, 404, 409]);
  await last(DRAINED_MS);
  if (kind === 'schedulers') await asker.ask('POST', '/v1/schedulers/rebalance', [200]);
  await asker.ask('POST', `/v1/${kind}/${chosen.id}/resume`, [200, 404]);
}
