import type { Run } from '@punctual/contracts';
import { type Queryable, readRuns } from '@punctual/database';
import type { ApiContext } from '../context.ts';
import { ProblemError } from '../problem.ts';
import { renderRun } from './render-run.ts';

/** Those of `ids` that are runs of the tenant, with their tasks, in no particular order. */
export async function showRuns(
  context: Pick<ApiContext, 'workflowVersions'>,
  database: Queryable,
  tenantId: string,
  ids: readonly string[],
): Promise<Run[]> {
  const shown: Run[] = [];
  for (const run of await readRuns(database, tenantId, ids)) {
    const version = await context.workflowVersions.read(database, run.workflow_id, run.workflow_version);
    shown.push(renderRun(run, run.timers, version));
  }
  return shown;
}

/** One run of the tenant. Throws ProblemError (404) when there is none. */
export async function showRun(
  context: Pick<ApiContext, 'workflowVersions'>,
  database: Queryable,
  tenantId: string,
  id: string,
): Promise<Run> {
  const [run] = await showRuns(context, database, tenantId, [id]);
  if (!run) throw createRunNotFound();
  return run;
}

/** The tenant has no such run; another's is none. */
export function createRunNotFound(): ProblemError {
  return new ProblemError(404, 'run_not_found', 'There is no such run.');
}
