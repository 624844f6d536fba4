import {
  asTenant,
  type ChangeOrigin,
  createRequestedTimers,
  makeScheduledTimer,
  type ScheduleRow,
  saveSchedule,
  type Transaction,
} from '@punctual/database';
import { type ApiContext, readAnchorAt } from '../context.ts';
import { beginRuns } from '../runs/create-runs.ts';
import { withTransaction } from '../transaction.ts';
import { lockMatching } from './change-schedule.ts';

/** What a trigger began. */
export type Triggered = { runId: string } | { timerId: string };

/**
 * Begins now what an occurrence of the schedule would begin, whatever its status and its policy for overlaps. Throws ProblemError:
 * 404, 409 when the workflow begins no runs, 429 when there is no room for it.
 */
export function triggerSchedule(
  context: ApiContext,
  client: Transaction | undefined,
  { tenantId, id, origin }: { tenantId: string; id: string; origin: ChangeOrigin },
): Promise<Triggered> {
  return withTransaction(asTenant(context.database, tenantId).hot, client, async (transaction) => {
    const row = await lockMatching(transaction, { tenantId, id, ifMatch: undefined });
    const now = readAnchorAt(context);
    const triggered = await begin(context, transaction, row, now, origin);
    const last_target_id = 'runId' in triggered ? triggered.runId : triggered.timerId;
    await saveSchedule(transaction, { ...row, last_target_id, last_begun_at: now, last_occurrence_at: null });
    return triggered;
  });
}

async function begin(
  context: ApiContext,
  client: Transaction,
  row: ScheduleRow,
  now: number,
  origin: ChangeOrigin,
): Promise<Triggered> {
  const { tenant_id: tenantId, workflow_id: workflowId, input } = row;
  if (workflowId !== null) {
    const labels = row.labels && JSON.stringify(row.labels);
    const order = { tenantId, workflowId, input, externalId: null, labels, isPaused: false, origin };
    const [result] = await beginRuns(context, client, [order]);
    if (result!.kind === 'refused') throw result!.problem;
    return { runId: result!.run.id };
  }
  const refusal = await context.liveTimers.take(tenantId, 1, client);
  if (refusal) throw refusal;
  const { partitionCount } = context;
  const timer = makeScheduledTimer(row, { at: now, now, partitionCount, name: null });
  await createRequestedTimers(client, [{ ...timer, origin }]);
  return { timerId: timer.id };
}
