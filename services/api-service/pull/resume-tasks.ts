import { asTenant, hold, type LeaseSlot, resumeLeases, type StartedTimer } from '@punctual/database';
import type { ApiContext } from '../context.ts';
import { findHeldTasks, listTaskGates } from './held-tasks.ts';
import { writeOutcomes } from './write-outcomes.ts';

/**
 * What a worker that came back still holds of a queue. Not what was leased for it behind a gate that was closed by then: nobody
 * was told of those, which goes back to wait for the gate.
 */
export async function resumeTasks(
  context: Pick<ApiContext, 'database' | 'workflowVersions' | 'logger'>,
  tenantId: string,
  queue: string,
  wish: LeaseSlot & { tasksMax: number },
): Promise<StartedTimer[]> {
  const tasks = await resumeLeases(asTenant(context.database, tenantId).hot, tenantId, queue, wish);
  const held = await findHeldTasks(context, tenantId, queue, tasks);
  const isUntold = (timer: StartedTimer) => timer.started_at >= (held.get(timer) ?? Number.POSITIVE_INFINITY);
  const untold = tasks.filter(isUntold);
  if (untold.length > 0) {
    await writeOutcomes(
      context,
      tenantId,
      untold.map((timer) => hold(timer, listTaskGates(tenantId, queue, timer))),
    );
  }
  return tasks.filter((timer) => !isUntold(timer));
}
