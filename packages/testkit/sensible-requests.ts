/** An id that nothing has. */
const NOBODY = '01990000-0000-7000-8000-000000000000';
const ACTION = { type: 'noop' };
const WORKFLOW = { name: 'w', tasks: [{ key: 'a', action: ACTION }] };

/** A body that is sensible in itself for each operation that needs one; `{}` or none is enough for the others. */
export const SENSIBLE_BODIES: Readonly<Record<string, object>> = {
  'POST /v1/timers': { action: ACTION },
  'POST /v1/timers/batch': { timers: [{ action: ACTION }] },
  'PATCH /v1/timers/batch': { timers: [{ id: NOBODY, payload: 1 }] },
  'POST /v1/timers/batch/cancel': { ids: [NOBODY] },
  'PATCH /v1/timers/{id}': { payload: 1 },
  'POST /v1/dead-letters/redrive': { ids: [NOBODY] },
  'POST /v1/workflows': WORKFLOW,
  'PUT /v1/workflows/{id}': WORKFLOW,
  'POST /v1/workflows/{id}/tasks': { key: 'b', action: ACTION },
  'POST /v1/runs': { workflowId: NOBODY },
  'PUT /v1/limits': { kind: 'queue', name: 'sensible', limit: 5 },
  'POST /v1/origins/pause': { origin: 'https://example.com' },
  'POST /v1/origins/resume': { origin: 'https://example.com' },
  'POST /v1/bulk-operations': { action: 'cancel', ids: [NOBODY] },
  'POST /v1/runs/batch': { workflowId: NOBODY, runs: [{}] },
  'POST /v1/tenants': { name: 't' },
  'PATCH /v1/tenants/{id}': { name: 't' },
  'POST /v1/tenants/{id}/signing-secrets': { overlapSeconds: 0 },
  'POST /v1/api-keys': { name: 'k', scope: 'read' },
  'POST /v1/task-queues/{queue}/leases': { workerId: 'w', maxTasks: 1, leaseSeconds: 30 },
  'POST /v1/tasks/{id}/complete': { leaseToken: 'none' },
  'POST /v1/tasks/batch/complete': { tasks: [{ id: NOBODY, leaseToken: 'none' }] },
  'POST /v1/tasks/{id}/fail': { leaseToken: 'none', error: 'none' },
  'POST /v1/tasks/{id}/heartbeat': { leaseToken: 'none', leaseSeconds: 30 },
  'POST /v1/schedules': { rule: { type: 'interval', value: 1, unit: 'days' }, timer: { action: ACTION } },
  'PATCH /v1/schedules/{id}': { name: 's' },
  'POST /v1/delays/preview': { delay: { type: 'duration', value: 1, unit: 'seconds' } },
};

/** The query without which an operation makes no sense. */
export const SENSIBLE_QUERIES: Readonly<Record<string, string>> = {
  'GET /v1/timers/histogram': '?bucket=hour',
  'DELETE /v1/limits': '?kind=queue&name=sensible',
};

/** Fills the parameters of a path with an id, by default one that nothing has. */
export function fillPath(template: string, id: string = NOBODY): string {
  return template.replaceAll(/\{\w+\}/g, id);
}
