import { postpone, type StartedTimer } from '@punctual/database';
import type { ApiContext } from '../context.ts';
import { writeOutcomes } from './write-outcomes.ts';

/** Before a task that could not be handed out is leased again (ms): what kept it may still be there. */
export const UNDELIVERED_PAUSE_MS = 1_000;

/**
 * Gives tasks back that were leased and of which nobody was told; the attempts do not count. Does not wait: what can not be
 * written comes back when its lease ends.
 */
export function giveBackTasks(
  context: Pick<ApiContext, 'database' | 'workflowVersions' | 'logger'>,
  tenantId: string,
  timers: readonly StartedTimer[],
  waitMs: number,
): void {
  if (timers.length === 0) return;
  const outcomes = timers.map((timer) => postpone(timer, waitMs));
  writeOutcomes(context, tenantId, outcomes).catch((error: unknown) => {
    context.logger.debug({ err: error }, 'tasks could not be given back; their leases will end');
  });
}
