import { createId, decodeRunTree, formatPath, type TaskState, visitStates } from '@punctual/domain';
import { inTransaction, type TransactionPool } from '../connect.ts';
import { createDeadTimers } from '../queries/create-dead-timers.ts';
import { TIMERS_PER_INSERT_MAX } from '../queries/create-timers.ts';
import { recordChanges } from '../queries/record-changes.ts';
import { countMendedRun, hasLiveTimer, readTaskTraces } from '../queries/run-review.ts';
import type { WorkflowVersions } from '../workflow-versions.ts';
import { nameLanes } from './name-lanes.ts';
import { advanceRuns, type EndedTask, lockRuns } from './run-progress.repository.ts';
import { makeTaskTimer } from './run-trees.repository.ts';

const LOST = 'The timer of this task is gone without a trace. Whether it was delivered is not known.';

/** A run that was mended: how many of its tasks had ended unnoticed, and how many were gone without a trace. */
export interface MendedRun {
  tasksEnded: number;
  tasksLost: number;
}

/**
 * Mends a run that says it is under way although nothing of it is live: whatever it takes to be live gets the end that the
 * history or the dead letters tell of; a task of which there is no trace ends dead, with a dead letter that somebody may
 * redrive. What may follow begins, or the run ends by the state that its tasks tell. In one transaction, in which whether
 * it moves is asked again under the run's lock: undefined, and nothing is changed, when it does. Rejects when the run can
 * not be understood; it stays as it is.
 */
export async function mendRun(
  pool: TransactionPool,
  versions: WorkflowVersions,
  runId: string,
): Promise<MendedRun | undefined> {
  return inTransaction(pool, async (client) => {
    const [run] = await lockRuns(client, [runId]);
    if (run?.status !== 'running' || (await hasLiveTimer(client, runId))) return undefined;
    const version = await versions.read(client, run.workflow_id, run.workflow_version);
    const tree = decodeRunTree(version.tasks, run.task_states);
    const name = (taskKey: string, path: string | null) => `${taskKey}/${path ?? ''}`;
    const traces = new Map((await readTaskTraces(client, runId)).map((t) => [name(t.taskKey, t.path), t.state]));
    const ended: EndedTask[] = [];
    const lost: Parameters<typeof createDeadTimers>[1][number][] = [];
    visitStates(tree, (task, state: TaskState | 'open', place) => {
      if (state !== 'live') return;
      const { key, delay } = version.tasks[task]!;
      const path = formatPath(place);
      const end = traces.get(name(key, path));
      ended.push({ run_id: runId, task_key: key, path, state: end ?? 'dead' });
      if (end !== undefined) return;
      // Sent again it waits anew: whether its signal had come is not known either.
      const wait = { dueAt: run.locked_at, waitsFor: delay?.type === 'signal' ? delay.name : null };
      lost.push({ ...makeTaskTimer(run, version, task, path, wait), error: LOST });
    });
    await nameLanes(client, lost);
    for (let start = 0; start < lost.length; start += TIMERS_PER_INSERT_MAX) {
      await createDeadTimers(client, lost.slice(start, start + TIMERS_PER_INSERT_MAX));
    }
    await advanceRuns(client, versions, [run], ended, { isWhole: true });
    await countMendedRun(client, lost.length);
    const mended = { tasksEnded: ended.length - lost.length, tasksLost: lost.length };
    const origin = {
      action: 'run.mend',
      actor: 'reviewer',
      keyId: null,
      requestId: createId(),
      details: JSON.stringify(mended),
    } as const;
    await recordChanges(client, [{ targetId: runId, tenantId: run.tenant_id, origin }]);
    return mended;
  });
}
