/** What can be changed through the api. `timers.batch.…` and the like are one request about many. */
export const AUDIT_ACTIONS = [
  'timer.create',
  'timers.batch.create',
  'timer.change',
  'timers.batch.change',
  'timer.cancel',
  'timers.batch.cancel',
  'timer.fire',
  'dead-letter.redrive',
  'dead-letters.redrive',
  'dead-letter.dismiss',
  'workflow.create',
  'workflow.replace',
  'workflow.add-task',
  'workflow.archive',
  'run.create',
  'runs.batch.create',
  'run.cancel',
  'run.retry',
  'tenant.create',
  'tenant.change',
  'signing-secret.create',
  'signing-secret.delete',
  'api-key.create',
  'api-key.revoke',
] as const;
export type AuditAction = (typeof AUDIT_ACTIONS)[number];

/** By whom: an API key, the bootstrap key, or nobody who had to say so (`AUTH=off`). */
export const ACTORS = ['key', 'bootstrap', 'nobody'] as const;
export type Actor = (typeof ACTORS)[number];
