import type { RunsChoice, WorkflowRequest, WorkflowTask } from '@punctual/contracts';
import {
  addWorkflowVersion,
  asTenant,
  type ChangeOrigin,
  createWorkflow,
  lockWorkflow,
  recordChanges,
  type StoredTask,
  type StoredWorkflow,
  type Transaction,
  type WorkflowRow,
} from '@punctual/database';
import {
  createId,
  type Fault,
  TASKS_PER_WORKFLOW_MAX,
  toStoredPriority,
  validateTaskFlow,
  validateTaskGraph,
} from '@punctual/domain';
import { type ApiContext, readAnchorAt } from '../context.ts';
import { createInvalidRequest, refuseFaults } from '../plugins/problems.ts';
import { ProblemError } from '../problem.ts';
import { checkTimeZone } from '../timers/due-time.ts';
import { withTransaction } from '../transaction.ts';
import { compileTask } from './compile-tasks.ts';
import { formatETag, parseIfMatch } from './etag.ts';
import { moveRunsTo, prepareMove } from './move-runs.ts';
import { hasMasks, sealTasks } from './seal-tasks.ts';
import {
  checkExpressionCount,
  prefix,
  validateTask,
  validateTasks,
  WORKFLOW_TASKS_BYTES_MAX,
} from './validate-tasks.ts';
import { createWorkflowNotFound } from './workflow-problems.ts';

/** Which workflow a change is for, and on what condition (`If-Match`). */
export interface WorkflowTarget {
  tenantId: string;
  id: string;
  ifMatch: string | undefined;
  /** What becomes of its runs under way. */
  runs: RunsChoice;
  origin: ChangeOrigin;
}

/** A workflow in its new version, and the operation that moves its runs to it. */
export type SavedWorkflow = StoredWorkflow & { bulkOperationId: string | undefined };

/** What a version says, ready to be stored. */
interface VersionContent {
  name: string;
  timeZone: string;
  /** JSON text. */
  tasks: string;
  labels: Record<string, string> | null;
  retentionDays: number | null;
  priority: number | null;
}

/** Stores a new workflow as version 1. Throws ProblemError (400) with everything that is wrong with it. */
export async function addWorkflow(
  context: ApiContext,
  client: Transaction | undefined,
  tenantId: string,
  request: WorkflowRequest,
  origin: ChangeOrigin,
): Promise<StoredWorkflow> {
  const createdAt = readAnchorAt(context);
  const version = prepareVersion(context, request, createdAt);
  const tasks = encodeTasks(sealTasks(context, tenantId, request.tasks, []), '/tasks');
  const content = { ...version, tasks };
  const id = createId();
  await withTransaction(asTenant(context.database, tenantId).ordinary, client, async (transaction) => {
    await createWorkflow(transaction, { ...content, id, tenantId, createdAt, labels: toJson(content.labels) });
    await recordChanges(transaction, [{ targetId: id, tenantId, origin }]);
  });
  return {
    id,
    tenant_id: tenantId,
    name: content.name,
    status: 'active',
    version: 1,
    labels: content.labels,
    created_at: createdAt,
    updated_at: createdAt,
    retention_days: content.retentionDays,
    time_zone: content.timeZone,
    tasks: content.tasks,
    priority: content.priority,
  };
}

/** Replaces all that a workflow says by a new version. Throws ProblemError: 400, 404, 409 when archived, 412. */
export async function replaceWorkflow(
  context: ApiContext,
  client: Transaction | undefined,
  target: WorkflowTarget,
  request: WorkflowRequest,
): Promise<SavedWorkflow> {
  // Before the lock: the check of a thousand tasks should keep nobody waiting.
  const content = prepareVersion(context, request, readAnchorAt(context));
  return changeWorkflow(context, client, target, async (locked, workflow) => {
    const present: readonly StoredTask[] = hasMasks(request.tasks)
      ? (await context.workflowVersions.read(locked, workflow.id, workflow.version)).tasks
      : [];
    const sealed = sealTasks(context, target.tenantId, request.tasks, present);
    return { ...content, tasks: encodeTasks(sealed, '/tasks') };
  });
}

/** Adds one task to a workflow's present tasks by a new version. Throws ProblemError: 400, 404, 409 when archived, 412. */
export async function addTask(
  context: ApiContext,
  client: Transaction | undefined,
  target: WorkflowTarget,
  task: WorkflowTask,
): Promise<SavedWorkflow> {
  const anchorAt = readAnchorAt(context);
  return changeWorkflow(context, client, target, async (locked, workflow) => {
    const present = await context.workflowVersions.read(locked, workflow.id, workflow.version);
    if (present.tasks.length >= TASKS_PER_WORKFLOW_MAX) {
      refuseFaults([{ pointer: '', detail: `A workflow has at most ${TASKS_PER_WORKFLOW_MAX} tasks.` }]);
    }
    // Those in secret headers of the others can not be seen, which are few.
    const templated = present.tasks.filter(({ hasTemplates }) => hasTemplates) as WorkflowTask[];
    refuseFaults(checkExpressionCount([...templated, task], () => {}));
    const own = `/${present.tasks.length}`;
    refuseFaults([
      // The others were sound without it and none of them waits for it, so whatever is wrong is wrong with this one.
      ...validateGraph(present.tasks, task).map((fault) => ({ ...fault, pointer: fault.pointer.slice(own.length) })),
      ...validateTask(task, { context, timeZone: present.timeZone, anchorAt }),
    ]);
    // The others are sealed already.
    const sealed = sealTasks(context, target.tenantId, [task], [], '');
    const all = encodeTasks([...present.tasks, ...sealed], '');
    const { labels, retention_days: retentionDays } = workflow;
    const { name, timeZone, priority } = present;
    return { name, timeZone, tasks: all, labels, retentionDays, priority };
  });
}

function validateGraph(present: readonly StoredTask[], task: WorkflowTask): Fault[] {
  const tasks = [...present, compileTask(task).task];
  const faults = validateTaskGraph(tasks);
  return faults.length > 0 ? faults : validateTaskFlow(tasks);
}

async function changeWorkflow(
  context: ApiContext,
  client: Transaction | undefined,
  { tenantId, id, ifMatch, runs, origin }: WorkflowTarget,
  change: (client: Transaction, workflow: WorkflowRow) => Promise<VersionContent>,
): Promise<SavedWorkflow> {
  const matches = parseIfMatch(ifMatch);
  const move = prepareMove(tenantId, id, runs);
  return withTransaction(asTenant(context.database, tenantId).ordinary, client, async (transaction) => {
    const workflow = await lockWorkflow(transaction, tenantId, id);
    if (!workflow) throw createWorkflowNotFound();
    if (!matches(workflow.version)) {
      throw new ProblemError(412, 'version_mismatch', `The workflow has version ${workflow.version} by now.`, {
        headers: { etag: formatETag(workflow.version) },
      });
    }
    if (workflow.status === 'archived') {
      throw new ProblemError(409, 'workflow_archived', 'The workflow is archived and can not be changed.');
    }
    const content = await change(transaction, workflow);
    const saved = await addWorkflowVersion(transaction, {
      ...content,
      id,
      updatedAt: readAnchorAt(context),
      labels: toJson(content.labels),
    });
    const bulkOperationId = move && (await moveRunsTo(context, transaction, move, saved.version, origin));
    const details = JSON.stringify({
      version: saved.version,
      ...(bulkOperationId !== undefined && { bulkOperationId }),
    });
    await recordChanges(transaction, [{ targetId: id, tenantId, origin: { ...origin, details } }]);
    return {
      bulkOperationId,
      ...workflow,
      ...saved,
      name: content.name,
      labels: content.labels,
      retention_days: content.retentionDays,
      time_zone: content.timeZone,
      tasks: content.tasks,
      priority: content.priority,
    };
  });
}

function prepareVersion(context: ApiContext, request: WorkflowRequest, anchorAt: number) {
  const zone = checkTimeZone(request.timeZone);
  if ('fault' in zone) throw createInvalidRequest([zone.fault]);
  const timeZone = zone.timeZone ?? 'UTC';
  refuseFaults(prefix('/tasks', validateTasks(request.tasks, { context, timeZone, anchorAt })));
  const { name, labels = null, retentionDays = null } = request;
  return { name, timeZone, labels, retentionDays, priority: toStoredPriority(request.priority) };
}

function encodeTasks(tasks: readonly StoredTask[], pointer: string): string {
  const text = JSON.stringify(tasks);
  if (Buffer.byteLength(text) > WORKFLOW_TASKS_BYTES_MAX) {
    refuseFaults([
      { pointer, detail: `All tasks together must not be larger than ${WORKFLOW_TASKS_BYTES_MAX} bytes.` },
    ]);
  }
  return text;
}

function toJson(labels: Record<string, string> | null): string | null {
  return labels && JSON.stringify(labels);
}
