import { asTenant, type Queryable, readTimers, type TimerRecord, type WorkflowVersion } from '@punctual/database';
import type { ApiContext } from '../context.ts';
import { ProblemError } from '../problem.ts';
import { renderTimer } from './render-timer.ts';

/** The answer to whoever names a timer that the tenant has not. */
export function createTimerNotFound(): ProblemError {
  return new ProblemError(404, 'not_found', 'There is no such timer.');
}

/** One timer as JSON text. Throws a 404. */
export async function readTimerText(
  context: ApiContext,
  tenantId: string,
  id: string,
  database: Queryable = asTenant(context.database, tenantId).hot,
): Promise<string> {
  const record = (await readTimers(database, tenantId, [id])).get(id);
  if (!record) throw createTimerNotFound();
  return renderRecord(context, record, database);
}

/**
 * A timer's JSON text, with what its workflow says. `database` is that of its tenant. Beside others it leaves out an action
 * larger than `actionBytesMax`.
 */
export async function renderRecord(
  context: Pick<ApiContext, 'workflowVersions'>,
  record: TimerRecord,
  database: Queryable,
  actionBytesMax = Number.POSITIVE_INFINITY,
): Promise<string> {
  return renderTimer(record, await readVersionOf(context, record, database), actionBytesMax);
}

/** The workflow version that a timer belongs to, if any. Most are remembered. */
export async function readVersionOf(
  context: Pick<ApiContext, 'workflowVersions'>,
  record: Pick<TimerRecord, 'workflowId' | 'workflowVersion'>,
  database: Queryable,
): Promise<WorkflowVersion | undefined> {
  if (record.workflowId === null || record.workflowVersion === null) return undefined;
  return context.workflowVersions.read(database, record.workflowId, record.workflowVersion);
}
