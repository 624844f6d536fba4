import type { Change, ChangeOrigin } from '@punctual/database';
import { TASKS_PER_WORKFLOW_MAX } from '@punctual/domain';

/** Ids of timers in one entry of the audit log: a run has a timer for each task at most. */
const TIMERS_PER_ENTRY_MAX = TASKS_PER_WORKFLOW_MAX;

/**
 * A change of a run and, with it, of timers of its tasks, for one entry of the audit log: the run first, so that whoever
 * looks for a timer finds who changed it.
 */
export function describeRunChange(
  tenantId: string,
  runId: string,
  timers: readonly { id: string }[],
  origin: ChangeOrigin,
): Change[] {
  const timerIds = timers.slice(0, TIMERS_PER_ENTRY_MAX).map(({ id }) => id);
  return [runId, ...timerIds].map((targetId) => ({ targetId, tenantId, origin }));
}
