import type { Workflow, WorkflowTask, WorkflowVersion } from '@punctual/contracts';
import type { StoredTask, StoredWorkflow, WorkflowVersionRow } from '@punctual/database';
import { maskAction } from '@punctual/domain';
import { formatETag } from './etag.ts';

/** A workflow as the api shows it. */
export function renderWorkflow(workflow: StoredWorkflow): Workflow {
  return {
    id: workflow.id,
    name: workflow.name,
    version: workflow.version,
    status: workflow.status,
    timeZone: workflow.time_zone,
    tasks: showTasks(workflow.tasks),
    ...(workflow.priority !== null && { priority: workflow.priority }),
    ...(workflow.labels && { labels: workflow.labels }),
    retentionDays: workflow.retention_days,
    createdAt: new Date(workflow.created_at).toISOString(),
    updatedAt: new Date(workflow.updated_at).toISOString(),
  };
}

/** What every route of one workflow answers with it. `bulkOperationId`: of the operation that moves its runs, if there is one. */
export function answerWorkflow<Status extends number>(
  status: Status,
  { bulkOperationId, ...workflow }: StoredWorkflow & { bulkOperationId?: string | undefined },
) {
  const body = { ...renderWorkflow(workflow), ...(bulkOperationId !== undefined && { bulkOperationId }) };
  return { status, headers: { etag: formatETag(workflow.version) }, body };
}

/** One of a workflow's versions as the api shows it. */
export function renderWorkflowVersion(version: WorkflowVersionRow): WorkflowVersion {
  return {
    workflowId: version.workflow_id,
    version: version.version,
    name: version.name,
    timeZone: version.time_zone,
    tasks: showTasks(version.tasks),
    ...(version.priority !== null && { priority: version.priority }),
    createdAt: new Date(version.created_at).toISOString(),
  };
}

/** Stored tasks without the secrets in their actions. */
function showTasks(text: string): WorkflowTask[] {
  const tasks = JSON.parse(text) as StoredTask[];
  return tasks.map(({ hasTemplates: _, reads: __, ...task }) => ({
    ...task,
    action: maskAction(task.action),
  })) as WorkflowTask[];
}
