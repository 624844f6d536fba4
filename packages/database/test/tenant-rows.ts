import { createTimers, type Database, type Queryable } from '@punctual/database';
import { createId } from '@punctual/domain';
import { makeTimer, useTestDatabase } from '@punctual/testkit';
import { beforeAll } from 'vitest';

/** A database in which the tenant `mine` has one row in each table, and `theirs` two. */
export function useTenantsWithRows() {
  // One connection a pool, so that whatever one statement leaves behind meets the next.
  const db = useTestDatabase(1);
  const mine = createId();
  const theirs = createId();
  beforeAll(async () => {
    await seed(db.database, mine, 1);
    await seed(db.database, theirs, 2);
  });
  return { db, mine, theirs };
}

/** One row in each table for one tenant, two for another: what a forgotten condition would mix up. */
async function seed(database: Database, tenantId: string, rows: number): Promise<void> {
  await database.ordinary.query('INSERT INTO tenants (id, name) VALUES ($1, $2)', [tenantId, 'seeded']);
  for (let row = 0; row < rows; row += 1) {
    const id = createId();
    const timers = Array.from({ length: 3 }, () => makeTimer({ tenantId, labels: '{"of":"everybody"}' }));
    await createTimers(database.hot, timers);
    const [, finished, dead] = timers;
    const texts = [
      `INSERT INTO api_keys (id, tenant_id, name, scope, prefix, key_hash) VALUES ('${id}', '${tenantId}', '', 'read', '', sha256('${id}'))`,
      `INSERT INTO workflows (id, tenant_id, name, created_at, updated_at) VALUES ('${id}', '${tenantId}', 'w', now(), now())`,
      `INSERT INTO workflow_versions (workflow_id, version, name, time_zone, tasks, created_at) VALUES ('${id}', 1, 'w', 'UTC', '[]', now())`,
      `INSERT INTO runs (id, tenant_id, workflow_id, workflow_version, partition, status, task_states, created_at)
       VALUES ('${id}', '${tenantId}', '${id}', 1, 0, 'running', '', now())`,
      `WITH gone AS (DELETE FROM timers WHERE id = '${finished!.id}' RETURNING *)
       INSERT INTO finished_timers (id, tenant_id, due_at, created_at, finished_at, version, state, partition, attempt)
       SELECT id, tenant_id, due_at, created_at, now(), 2, 'cancelled', partition, 0 FROM gone`,
      `WITH gone AS (DELETE FROM timers WHERE id = '${dead!.id}' RETURNING *)
       INSERT INTO dead_letters (id, tenant_id, due_at, created_at, finished_at, version, state, partition, attempt)
       SELECT id, tenant_id, due_at, created_at, now(), 2, 'dead', partition, 1 FROM gone`,
      `INSERT INTO attempts (timer_id, tenant_id, started_at, finished_at, outcome, attempt) VALUES ('${id}', '${tenantId}', now(), now(), 'lost', 1)`,
      `INSERT INTO task_outputs (run_id, tenant_id, task_key, path, output) VALUES ('${id}', '${tenantId}', 't', '', '1')`,
      `INSERT INTO lanes (tenant_id, name) VALUES ('${tenantId}', 'key:${id}')`,
      `INSERT INTO lane_places (tenant_id, lane, timer_id) VALUES ('${tenantId}', 'key:${id}', '${id}')`,
      `INSERT INTO run_signals (run_id, number, tenant_id, name, payload) VALUES ('${id}', 1, '${tenantId}', 's', '1')`,
      `INSERT INTO erasures (tenant_id, target_id) VALUES ('${tenantId}', '${id}')`,
      `INSERT INTO trace_contexts (target_id, tenant_id, traceparent) VALUES ('${id}', '${tenantId}', 't')`,
      `INSERT INTO pull_workers (id, tenant_id, queue, worker_id, first_seen_at, last_seen_at) VALUES ('${id}', '${tenantId}', 'q', '${id}', now(), now())`,
      `INSERT INTO gates (tenant_id, kind, name, paused_at) VALUES ('${tenantId}', 'workflow', '${id}', now())`,
      `INSERT INTO bulk_operations (id, tenant_id, action, status, target, request, plan, next_at, actor, request_id, created_at)
       VALUES ('${id}', '${tenantId}', 'cancel', 'running', 'timer', '{}', '{}', now(), 'nobody', 'r', now())`,
      `INSERT INTO bulk_portions (operation_id, tenant_id, number, target_ids) VALUES ('${id}', '${tenantId}', 0, '{}')`,
      `INSERT INTO bulk_failures (operation_id, tenant_id, target_id, code, detail) VALUES ('${id}', '${tenantId}', '${id}', '', '')`,
      `INSERT INTO schedules (id, tenant_id, status, spec, action, anchor_at, handled_at, created_at, updated_at)
       VALUES ('${id}', '${tenantId}', 'paused', '{}', '{}', now(), now(), now(), now())`,
      `INSERT INTO external_ids (tenant_id, kind, external_id, target_id) VALUES ('${tenantId}', 'timer', '${id}', '${id}')`,
      `INSERT INTO idempotency_keys (tenant_id, key, request_hash, status, headers, body) VALUES ('${tenantId}', '${id}', '', 201, '{}', '')`,
      `INSERT INTO ledger_totals (tenant_id, partition) VALUES ('${tenantId}', ${row})`,
      `INSERT INTO audit_log (tenant_id, actor, action, target_ids, request_ids) VALUES ('${tenantId}', 'nobody', 'run.cancel', '{${id}}', 'r')`,
      `INSERT INTO signing_secrets (id, tenant_id, key_id, ciphertext, created_at) VALUES ('${id}', '${tenantId}', 'k', '', now())`,
    ];
    for (const text of texts) await database.ordinary.query(text);
  }
}

/** A statement without any condition. */
export async function countVisible(database: Queryable, name: string): Promise<number> {
  const { rows } = await database.query<{ count: number }>(`SELECT count(*)::int AS count FROM ${name}`);
  return rows[0]!.count;
}
