import type { Queryable } from '../connect.ts';
import { nameStatement, toPlainArray } from '../statement.ts';

/** Somebody who asked for tasks of a queue, or for a longer lease. */
export interface PullWorkerSighting {
  tenantId: string;
  queue: string;
  workerId: string;
}

/** A worker of a customer, and what it holds. Instants in epoch ms. */
export interface PullWorker extends PullWorkerSighting {
  id: string;
  firstSeenAt: number;
  lastSeenAt: number;
  tasksHeld: number;
  /** When the first of the leases that it holds ends; null when it holds none. */
  leaseEndsAt: number | null;
}

/** One that has not asked for so long is forgotten (ms). */
export const PULL_WORKER_KEPT_MS = 3_600_000;
/** Those of one tenant that are kept: the ones seen last. Whoever makes up a name for each request fills no table. */
export const PULL_WORKERS_PER_TENANT_MAX = 1_000;
/** Those that one list tells of, and tasks of a queue that it looks at. */
const PULL_WORKERS_LISTED_MAX = 1_000;
const TASKS_LOOKED_AT_MAX = 10_000;

// Locks the rows in the order of their keys, as every api does.
const upsertRows = nameStatement(
  'note_pull_workers',
  `INSERT INTO pull_workers AS w (id, tenant_id, queue, worker_id, first_seen_at, last_seen_at)
   SELECT uuidv7(), s.tenant_id, s.queue, s.worker_id, clock_timestamp(), clock_timestamp()
   FROM unnest($1::uuid[], $2::text[], $3::text[]) AS s(tenant_id, queue, worker_id)
   ORDER BY s.tenant_id, s.queue, s.worker_id
   ON CONFLICT (tenant_id, queue, worker_id) DO UPDATE SET last_seen_at = excluded.last_seen_at`,
);

/** Notes that these were there just now, each named once. */
export async function notePullWorkers(database: Queryable, seen: readonly PullWorkerSighting[]): Promise<void> {
  await upsertRows(database, [
    toPlainArray(seen.map(({ tenantId }) => tenantId)),
    seen.map(({ queue }) => queue),
    seen.map(({ workerId }) => workerId),
  ]);
}

// Passes over what somebody else has locked: it was just seen.
const forgetRows = nameStatement(
  'forget_pull_workers',
  `WITH floors AS (
     SELECT t.id AS tenant_id, (
       SELECT w.last_seen_at FROM pull_workers AS w WHERE w.tenant_id = t.id
       ORDER BY w.tenant_id, w.last_seen_at DESC OFFSET $3::int - 1 LIMIT 1
     ) AS last_seen_at
     FROM unnest($1::uuid[]) AS t(id)
   )
   DELETE FROM pull_workers WHERE id IN (
     SELECT w.id FROM pull_workers AS w LEFT JOIN floors AS f ON f.tenant_id = w.tenant_id
     WHERE w.last_seen_at < clock_timestamp() - $2::float8 * interval '1 millisecond' OR w.last_seen_at < f.last_seen_at
     FOR UPDATE OF w SKIP LOCKED
   )`,
);

/** Forgets those that were not seen for PULL_WORKER_KEPT_MS, and of these tenants those that are too many. */
export async function forgetPullWorkers(database: Queryable, tenantIds: readonly string[]): Promise<void> {
  await forgetRows(database, [toPlainArray([...tenantIds]), PULL_WORKER_KEPT_MS, PULL_WORKERS_PER_TENANT_MAX]);
}

// Takes no lock. Of each queue the first rows of `timers_pull`: those under way stand before all that wait.
const selectRows = nameStatement<PullWorker>(
  'list_pull_workers',
  `WITH workers AS MATERIALIZED (
     SELECT * FROM pull_workers WHERE last_seen_at > statement_timestamp() - $1::float8 * interval '1 millisecond'
     ORDER BY last_seen_at DESC, id LIMIT ${PULL_WORKERS_LISTED_MAX}
   ), held AS (
     SELECT q.tenant_id, q.queue, t.lease_holder, count(*) AS tasks, min(t.lease_ends_at) AS lease_ends_at
     FROM (SELECT DISTINCT tenant_id, queue FROM workers) AS q CROSS JOIN LATERAL (
       SELECT t.state, t.lease_holder, t.lease_ends_at FROM timers AS t
       WHERE t.tenant_id = q.tenant_id AND t.pull_queue = q.queue AND t.wake_at <= statement_timestamp()
       ORDER BY t.tenant_id, t.pull_queue, t.wake_at, t.id LIMIT ${TASKS_LOOKED_AT_MAX}
     ) AS t
     WHERE t.state = 'running' AND t.lease_ends_at > statement_timestamp() GROUP BY 1, 2, 3
   )
   SELECT w.id, w.tenant_id AS "tenantId", w.queue, w.worker_id AS "workerId", w.first_seen_at AS "firstSeenAt",
     w.last_seen_at AS "lastSeenAt", coalesce(h.tasks, 0)::int AS "tasksHeld", h.lease_ends_at AS "leaseEndsAt"
   FROM workers AS w
   LEFT JOIN held AS h ON h.tenant_id = w.tenant_id AND h.queue = w.queue AND h.lease_holder = w.worker_id
   ORDER BY w.first_seen_at, w.id`,
);

/** The workers of all customers that were seen within PULL_WORKER_KEPT_MS, in the order `(firstSeenAt, id)`. */
export function listPullWorkers(database: Queryable): Promise<PullWorker[]> {
  return selectRows(database, [PULL_WORKER_KEPT_MS]);
}
