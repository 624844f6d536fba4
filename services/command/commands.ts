import type { Column, Item } from './render.ts';

/** A command that is one operation of the API. */
export interface ApiCommand {
  /** As it is typed, without arguments. */
  words: string;
  route: string;
  /** What a list shows; without, all that its items have. */
  columns?: readonly Column[];
  /** What is asked before it is sent: it can not be taken back. */
  danger?: (typed: { args: readonly string[]; body: Item }) => string | undefined;
  /** Fields of the body that the command sets itself. */
  preset?: Item;
  /** In place of the api's summary. */
  summary?: string;
}

const TIMER_COLUMNS = ['id', 'status', 'dueAt', 'attempt', 'workflowId', 'taskKey', 'createdAt'];
const RUN_COLUMNS = ['id', 'status', 'workflowId', 'workflowVersion', 'createdAt', 'finishedAt'];
const BULK_COLUMNS = ['id', 'action', 'status', 'matched', 'done', 'failed', 'createdAt', 'finishedAt'];

/** Nothing can bring back what these end. */
const END_WORDS: Readonly<Record<string, string>> = { cancel: 'cancels', fire: 'fires', redrive: 'sends again' };

const readBackwards =
  (...path: string[]) =>
  (item: Item): unknown =>
    path.reduce<unknown>((value, name) => (value as Item | undefined)?.[name], item);

const WORKER_COLUMNS: readonly Column[] = [
  'id',
  'kind',
  ['WHERE', (item) => (item.kind === 'pull' ? `queue ${item.queue}` : `${item.host}:${item.pid}`)],
  ['STATUS', (item) => (item.kind === 'pull' ? item.workerId : item.status)],
  [
    'IN HAND',
    (item) =>
      item.kind === 'pull'
        ? item.tasksHeld
        : `${readBackwards('details', 'attemptsInFlight')(item) ?? 0}/${readBackwards('details', 'attemptsMax')(item) ?? '?'}`,
  ],
  ['OPEN CIRCUITS', readBackwards('details', 'circuitsOpen')],
  ['SEEN', (item) => item.lastSeenAt ?? item.heartbeatAt],
];

const SCHEDULER_COLUMNS: readonly Column[] = [
  'id',
  ['WHERE', (item) => `${item.host}:${item.pid}`],
  'status',
  ['PARTITIONS', (item) => (item.partitions as unknown[]).length],
  ['NEXT DUE', (item) => item.nextWakeAt],
  'dueWithinMinute',
  ['SEEN', (item) => item.heartbeatAt],
];

/** Every command that is one operation. What an operation takes and answers comes from operations.json. */
export const API_COMMANDS: readonly ApiCommand[] = [
  { words: 'timers list', route: 'GET /v1/timers', columns: TIMER_COLUMNS },
  { words: 'timers get', route: 'GET /v1/timers/{id}' },
  { words: 'timers create', route: 'POST /v1/timers' },
  { words: 'timers create-many', route: 'POST /v1/timers/batch' },
  { words: 'timers change', route: 'PATCH /v1/timers/{id}' },
  { words: 'timers change-many', route: 'PATCH /v1/timers/batch' },
  {
    words: 'timers cancel',
    route: 'POST /v1/timers/{id}/cancel',
    danger: ({ args }) => `This cancels timer ${args[0]}.`,
  },
  {
    words: 'timers cancel-many',
    route: 'POST /v1/timers/batch/cancel',
    danger: ({ body }) => `This cancels ${(body.ids as unknown[] | undefined)?.length ?? 0} timers.`,
  },
  { words: 'timers fire', route: 'POST /v1/timers/{id}/fire' },
  { words: 'timers pause', route: 'POST /v1/timers/{id}/pause' },
  { words: 'timers resume', route: 'POST /v1/timers/{id}/resume' },
  {
    words: 'timers erase',
    route: 'POST /v1/timers/{id}/erase',
    danger: ({ args }) => `This erases timer ${args[0]} with its attempts.`,
  },
  { words: 'timers attempts', route: 'GET /v1/timers/{id}/attempts' },
  { words: 'timers count', route: 'GET /v1/timers/count' },
  { words: 'timers histogram', route: 'GET /v1/timers/histogram' },
  { words: 'runs list', route: 'GET /v1/runs', columns: RUN_COLUMNS },
  { words: 'runs get', route: 'GET /v1/runs/{id}' },
  { words: 'runs create', route: 'POST /v1/runs' },
  { words: 'runs create-many', route: 'POST /v1/runs/batch' },
  { words: 'runs cancel', route: 'POST /v1/runs/{id}/cancel', danger: ({ args }) => `This cancels run ${args[0]}.` },
  { words: 'runs pause', route: 'POST /v1/runs/{id}/pause' },
  { words: 'runs resume', route: 'POST /v1/runs/{id}/resume' },
  { words: 'runs retry', route: 'POST /v1/runs/{id}/retry' },
  {
    words: 'runs erase',
    route: 'DELETE /v1/runs/{id}',
    danger: ({ args }) => `This erases run ${args[0]} with all its timers, attempts and outputs.`,
  },
  {
    words: 'workflows list',
    route: 'GET /v1/workflows',
    columns: ['id', 'name', 'version', 'status', ['TASKS', (item) => (item.tasks as unknown[]).length], 'updatedAt'],
  },
  { words: 'workflows get', route: 'GET /v1/workflows/{id}' },
  { words: 'workflows create', route: 'POST /v1/workflows' },
  { words: 'workflows replace', route: 'PUT /v1/workflows/{id}' },
  { words: 'workflows add-task', route: 'POST /v1/workflows/{id}/tasks' },
  { words: 'workflows versions', route: 'GET /v1/workflows/{id}/versions', columns: ['version', 'name', 'createdAt'] },
  { words: 'workflows pause', route: 'POST /v1/workflows/{id}/pause' },
  { words: 'workflows resume', route: 'POST /v1/workflows/{id}/resume' },
  {
    words: 'workflows cancel',
    route: 'POST /v1/workflows/{id}/cancel',
    danger: ({ args }) => `This cancels all runs of workflow ${args[0]} that have not ended.`,
  },
  {
    words: 'workflows archive',
    route: 'DELETE /v1/workflows/{id}',
    danger: ({ args }) => `This archives workflow ${args[0]}: no new run can begin.`,
  },
  {
    words: 'schedules list',
    route: 'GET /v1/schedules',
    columns: ['id', 'name', 'status', 'rule', 'timeZone', 'nextRunAt'],
  },
  { words: 'schedules get', route: 'GET /v1/schedules/{id}' },
  { words: 'schedules create', route: 'POST /v1/schedules' },
  { words: 'schedules change', route: 'PATCH /v1/schedules/{id}' },
  {
    words: 'schedules delete',
    route: 'DELETE /v1/schedules/{id}',
    danger: ({ args }) => `This deletes schedule ${args[0]}.`,
  },
  { words: 'schedules next-runs', route: 'GET /v1/schedules/{id}/next-runs' },
  { words: 'schedules pause', route: 'POST /v1/schedules/{id}/pause' },
  { words: 'schedules resume', route: 'POST /v1/schedules/{id}/resume' },
  { words: 'schedules trigger', route: 'POST /v1/schedules/{id}/trigger' },
  { words: 'signals send', route: 'POST /v1/runs/{id}/signals/{name}' },
  {
    words: 'dead-letters list',
    route: 'GET /v1/dead-letters',
    columns: ['id', 'dueAt', 'finishedAt', 'workflowId', 'taskKey', ['ERROR', readBackwards('lastAttempt', 'error')]],
  },
  { words: 'dead-letters redrive', route: 'POST /v1/dead-letters/{timerId}/redrive' },
  {
    words: 'dead-letters redrive-many',
    route: 'POST /v1/dead-letters/redrive',
    danger: () => 'This sends up to 1,000 dead letters again: their endpoints are called.',
  },
  {
    words: 'dead-letters dismiss',
    route: 'DELETE /v1/dead-letters/{timerId}',
    danger: ({ args }) => `This dismisses dead letter ${args[0]}: it can not be sent again.`,
  },
  { words: 'bulk list', route: 'GET /v1/bulk-operations', columns: BULK_COLUMNS },
  { words: 'bulk get', route: 'GET /v1/bulk-operations/{id}' },
  {
    words: 'bulk start',
    route: 'POST /v1/bulk-operations',
    preset: { dryRun: false },
    danger: ({ body }) =>
      typeof body.action === 'string' && body.action in END_WORDS
        ? `This ${END_WORDS[body.action]} everything that the filter finds. \`punctual bulk dry-run\` tells how much that is.`
        : undefined,
  },
  {
    words: 'bulk dry-run',
    route: 'POST /v1/bulk-operations',
    preset: { dryRun: true },
    summary: 'Count what a bulk operation would change, and change nothing',
  },
  { words: 'bulk pause', route: 'POST /v1/bulk-operations/{id}/pause' },
  { words: 'bulk resume', route: 'POST /v1/bulk-operations/{id}/resume' },
  {
    words: 'bulk abort',
    route: 'POST /v1/bulk-operations/{id}/abort',
    danger: ({ args }) => `This ends bulk operation ${args[0]}: what it has not done is left.`,
  },
  { words: 'bulk failures', route: 'GET /v1/bulk-operations/{id}/failures' },
  { words: 'workers list', route: 'GET /v1/workers', columns: WORKER_COLUMNS },
  { words: 'workers resume', route: 'POST /v1/workers/{id}/resume' },
  { words: 'schedulers list', route: 'GET /v1/schedulers', columns: SCHEDULER_COLUMNS },
  { words: 'schedulers resume', route: 'POST /v1/schedulers/{id}/resume' },
  {
    words: 'queues list',
    route: 'GET /v1/queues',
    columns: ['name', 'backend', 'waiting', 'active', 'nextDueAt', 'tenantId'],
  },
  { words: 'queues pause', route: 'POST /v1/task-queues/{queue}/pause' },
  { words: 'queues resume', route: 'POST /v1/task-queues/{queue}/resume' },
  { words: 'origins pause', route: 'POST /v1/origins/pause' },
  { words: 'origins resume', route: 'POST /v1/origins/resume' },
  { words: 'gates list', route: 'GET /v1/gates' },
  { words: 'limits list', route: 'GET /v1/limits' },
  { words: 'limits set', route: 'PUT /v1/limits' },
  {
    words: 'limits remove',
    route: 'DELETE /v1/limits',
    danger: () => 'This removes the limit: who waits for it goes on.',
  },
  { words: 'tenants list', route: 'GET /v1/tenants' },
  { words: 'tenants create', route: 'POST /v1/tenants' },
  { words: 'tenants change', route: 'PATCH /v1/tenants/{id}' },
  { words: 'signing-secrets list', route: 'GET /v1/tenants/{id}/signing-secrets' },
  { words: 'signing-secrets create', route: 'POST /v1/tenants/{id}/signing-secrets' },
  {
    words: 'signing-secrets delete',
    route: 'DELETE /v1/tenants/{id}/signing-secrets/{secretId}',
    danger: ({ args }) => `This destroys signing secret ${args[1]}: who verifies with it refuses our requests.`,
  },
  { words: 'api-keys list', route: 'GET /v1/api-keys' },
  { words: 'api-keys create', route: 'POST /v1/api-keys' },
  {
    words: 'api-keys revoke',
    route: 'DELETE /v1/api-keys/{id}',
    danger: ({ args }) => `This revokes API key ${args[0]}: who uses it is refused within 5 seconds.`,
  },
  {
    words: 'audit-log list',
    route: 'GET /v1/audit-log',
    columns: ['createdAt', 'action', 'actor', 'keyId', 'targetIds', 'details'],
  },
  { words: 'delays preview', route: 'POST /v1/delays/preview' },
];

/** Operations that commands of their own use, beside or in place of one of the above. */
export const OTHER_ROUTES: Readonly<Record<string, string>> = {
  'GET /v1/health': 'status',
  'GET /v1/ledger': 'ledger',
  'POST /v1/workers/{id}/drain': 'workers drain',
  'POST /v1/schedulers/{id}/drain': 'schedulers drain',
  'POST /v1/schedulers/rebalance': 'schedulers rebalance',
};

/** Operations that are meant to have no command, and why. */
export const WITHOUT_COMMAND: Readonly<Record<string, string>> = {
  'GET /v1/openapi.json': 'for programs',
  'GET /v1/health/live': 'for whoever supervises a process',
  'GET /v1/health/ready': 'for load balancers; `punctual status` tells the same and more',
  'GET /metrics': 'for Prometheus',
  'DELETE /v1/timers/{id}': 'the same as `timers cancel`',
  'POST /v1/task-queues/{queue}/leases': 'for pull workers: a person who leases a task keeps it from them',
  'POST /v1/tasks/{id}/complete': 'for pull workers',
  'POST /v1/tasks/batch/complete': 'for pull workers',
  'POST /v1/tasks/{id}/fail': 'for pull workers',
  'POST /v1/tasks/{id}/heartbeat': 'for pull workers',
};
