import type { QueryConfig, QueryResultRow } from 'pg';
import type { Queryable } from '../connect.ts';
import { LOOK_AT } from './look-at.ts';

/** How long each of these queries may take (ms): they read all live rows, of which there may be many millions. */
export const LEDGER_QUERY_TIMEOUT_MS = 120_000;

async function runSlowQuery<Row extends QueryResultRow>(
  database: Queryable,
  text: string,
  values: unknown[],
): Promise<Row[]> {
  // pg takes the time-out of a single query too, which its types do not say.
  const query: QueryConfig & { query_timeout: number } = { text, values, query_timeout: LEDGER_QUERY_TIMEOUT_MS };
  const { rows } = await database.query<Row>(query);
  return rows;
}

/** What the books and the tables say of one tenant's timers in one partition. */
export interface LedgerLine {
  tenantId: string;
  partition: number;
  /** Entered in the ledger. */
  created: number;
  succeeded: number;
  dead: number;
  cancelled: number;
  skipped: number;
  /** Of `dead`, those that somebody dismissed. */
  dismissed: number;
  /** Counted in `timers`. */
  scheduled: number;
  running: number;
  paused: number;
  /** Counted in `dead_letters`: must be those of `dead` that nobody dismissed. */
  deadLetters: number;
}

/** Lines that one report carries, those that differ first. Bounds the answer: 150 tenants of 64 partitions are whole. */
export const LEDGER_LINES_MAX = 10_000;
/** Timers, and runs, that a report names one by one; of all others it gives the number. */
export const LEDGER_SAMPLES_MAX = 20;

const BOOKED = ['created', 'succeeded', 'dead', 'cancelled', 'skipped', 'dismissed'] as const;
const COUNTED = ['scheduled', 'running', 'paused', 'deadLetters'] as const;
const FIGURES = [...BOOKED, ...COUNTED] as const;

/** The figures of all lines together. */
export type LedgerTotal = Record<(typeof FIGURES)[number], number>;

type LineRow = LedgerLine & { differs: boolean; line_count: number; difference_count: number } & Record<
    string,
    unknown
  >;

// Takes no lock, but reads all live rows and all dead letters: seconds when there are tens of millions. The history is
// left alone: it is far larger, and its days go at retention.
// The totals and counts are over all lines, the limit comes after them.
const LINES_TEXT = `WITH booked AS (
     SELECT tenant_id, partition, ${BOOKED.map((name) => `sum(${name})::bigint AS ${name}`).join(', ')}
     FROM (
       SELECT tenant_id, partition, ${BOOKED.join(', ')} FROM ledger_totals
       UNION ALL SELECT tenant_id, partition, ${BOOKED.join(', ')} FROM ledger_entries
     ) AS entries
     WHERE $1::uuid IS NULL OR tenant_id = $1
     GROUP BY tenant_id, partition
   ), live AS (
     SELECT tenant_id, partition, count(*) FILTER (WHERE state = 'scheduled') AS scheduled,
       count(*) FILTER (WHERE state = 'running') AS running, count(*) FILTER (WHERE state = 'paused') AS paused
     FROM timers WHERE $1::uuid IS NULL OR tenant_id = $1
     GROUP BY tenant_id, partition
   ), letters AS (
     SELECT tenant_id, partition, count(*) AS "deadLetters"
     FROM dead_letters WHERE $1::uuid IS NULL OR tenant_id = $1
     GROUP BY tenant_id, partition
   ), lines AS (
     SELECT tenant_id AS "tenantId", partition, ${FIGURES.map((name) => `coalesce("${name}", 0) AS "${name}"`).join(', ')}
     FROM booked FULL JOIN live USING (tenant_id, partition) FULL JOIN letters USING (tenant_id, partition)
   ), judged AS (
     SELECT *, created <> scheduled + running + paused + succeeded + dead + cancelled + skipped OR "deadLetters" <> dead - dismissed AS differs
     FROM lines
   )
   SELECT *, count(*) OVER () AS line_count, count(*) FILTER (WHERE differs) OVER () AS difference_count,
     ${FIGURES.map((name) => `(sum("${name}") OVER ())::bigint AS "total_${name}"`).join(', ')}
   FROM judged ORDER BY differs DESC, "tenantId", partition LIMIT ${LEDGER_LINES_MAX}`;

/** Per tenant and partition what was booked and what is there; of all tenants when `tenantId` is null. */
export async function readLedgerLines(database: Queryable, tenantId: string | null) {
  const rows = await runSlowQuery<LineRow>(database, LINES_TEXT, [tenantId]);
  const first = rows[0];
  const total = Object.fromEntries(FIGURES.map((name) => [name, Number(first?.[`total_${name}`] ?? 0)])) as LedgerTotal;
  return {
    total,
    lineCount: first?.line_count ?? 0,
    differenceCount: first?.difference_count ?? 0,
    lines: rows.map((row): LedgerLine & { differs: boolean } => ({
      tenantId: row.tenantId,
      partition: row.partition,
      ...(Object.fromEntries(FIGURES.map((name) => [name, row[name]])) as LedgerTotal),
      differs: row.differs,
    })),
  };
}

/** A live timer that nobody looked at in time. `wakeAt` in epoch ms. */
export interface OverdueTimer {
  id: string;
  tenantId: string;
  partition: number;
  state: 'scheduled' | 'running' | 'paused';
  wakeAt: number;
}

/**
 * Timers whose wake time is more than `overdueAfterMs` ago: their number, and the oldest of them. Not those that wait for a
 * worker of the customer: they are late when nobody fetches them, which nothing of ours can mend.
 */
export async function readOverdueTimers(database: Queryable, tenantId: string | null, overdueAfterMs: number) {
  const rows = await runSlowQuery<OverdueTimer & { total: number }>(
    database,
    `SELECT id, tenant_id AS "tenantId", partition, state, ${LOOK_AT} AS "wakeAt", count(*) OVER () AS total
     FROM timers AS t
     WHERE ${LOOK_AT} < statement_timestamp() - $2::float8 * interval '1 millisecond' AND ($1::uuid IS NULL OR tenant_id = $1)
       AND pull_queue IS NULL
     ORDER BY "wakeAt", id LIMIT ${LEDGER_SAMPLES_MAX}`,
    [tenantId, overdueAfterMs],
  );
  return { count: rows[0]?.total ?? 0, timers: rows.map(({ total: _, ...timer }) => timer) };
}

/** A run that says it is running although no timer of it is live: nothing will ever end it. */
export interface StuckRun {
  id: string;
  tenantId: string;
  workflowId: string;
  /** Epoch ms. */
  createdAt: number;
}

/** Runs that are stuck in this way: their number, and the oldest of them. */
export async function readStuckRuns(database: Queryable, tenantId: string | null) {
  const rows = await runSlowQuery<StuckRun & { total: number }>(
    database,
    `SELECT id, tenant_id AS "tenantId", workflow_id AS "workflowId", created_at AS "createdAt", count(*) OVER () AS total
     FROM runs AS r
     WHERE status = 'running' AND ($1::uuid IS NULL OR tenant_id = $1)
       AND NOT EXISTS (SELECT FROM timers AS t WHERE t.run_id = r.id)
     ORDER BY created_at, id LIMIT ${LEDGER_SAMPLES_MAX}`,
    [tenantId],
  );
  return { count: rows[0]?.total ?? 0, runs: rows.map(({ total: _, ...run }) => run) };
}

/** Partitions that no scheduler owns at this moment: their timers wait. */
export async function readUnownedPartitions(database: Queryable): Promise<number[]> {
  const { rows } = await database.query<{ partition: number }>(
    `SELECT partition FROM partition_leases
     WHERE owner_id IS NULL OR expires_at <= statement_timestamp() ORDER BY partition`,
  );
  return rows.map((row) => row.partition);
}
