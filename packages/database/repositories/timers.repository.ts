import { type RawBuilder, sql } from 'kysely';
import type { Queryable } from '../connect.ts';
import { ENDED_COLUMNS, LIVE_COLUMNS, type TimerRecord } from '../queries/timer-record.ts';
import { runQuery } from '../run-query.ts';

// All of these are a tenant's own questions: `database` is the tenant's.

/** Which of a tenant's timers are meant. Absent: any. `dueAfter` is included, `dueBefore` is not (epoch ms). */
export interface TimerCondition {
  tenantId: string;
  statuses?: readonly TimerRecord['state'][];
  workflowId?: string;
  runId?: string;
  taskKey?: string;
  /** JSON text of an object; every one of its pairs must match. */
  labels?: string;
  dueAfter?: number;
  dueBefore?: number;
}

/** A place in the order of lists: behind this `(dueAt, id)`. */
export interface DueAfter {
  dueAt: number;
  id: string;
}

/** Where timers stand by their state. A dead letter that was dismissed stands with the finished ones. */
const STATES_BY_TABLE = {
  timers: ['scheduled', 'running', 'paused'],
  dead_letters: ['dead'],
  finished_timers: ['succeeded', 'dead', 'cancelled', 'skipped'],
} as const satisfies Record<string, readonly TimerRecord['state'][]>;
type TimerTable = keyof typeof STATES_BY_TABLE;

/** SQL: the condition on `timers`, or on dead letters, for statements that do more than show them. */
export function writeTimerCondition(table: 'timers' | 'dead_letters', condition: TimerCondition): RawBuilder<boolean> {
  return toSql(table, condition);
}

/** The tables that can hold what is meant. */
function chooseTables(condition: TimerCondition, among: readonly TimerTable[]): TimerTable[] {
  const { statuses } = condition;
  return among.filter((table) => !statuses || STATES_BY_TABLE[table].some((state) => statuses.includes(state)));
}

const ALL_TABLES: readonly TimerTable[] = ['timers', 'dead_letters', 'finished_timers'];

/**
 * From where to read. Row-level security has its own condition tested before all others that might tell of what they are
 * given, `@>` of labels among them, and so keeps these from the index. The view has the tenant's condition in itself.
 */
function nameSource(table: TimerTable, { labels }: TimerCondition): RawBuilder<unknown> {
  return sql.table(table === 'timers' && labels !== undefined ? 'own_timers' : table);
}

/** The condition as SQL; the three tables share every column it names. */
function toSql(table: TimerTable, condition: TimerCondition, after?: DueAfter): RawBuilder<boolean> {
  const parts: RawBuilder<unknown>[] = [sql`tenant_id = ${condition.tenantId}::uuid`];
  const states: readonly TimerRecord['state'][] = STATES_BY_TABLE[table];
  const { statuses } = condition;
  if (statuses && !states.every((state) => statuses.includes(state))) {
    parts.push(sql`state = ANY (${statuses.filter((state) => states.includes(state))}::timer_state[])`);
  }
  if (condition.workflowId !== undefined) parts.push(sql`workflow_id = ${condition.workflowId}::uuid`);
  if (condition.runId !== undefined) parts.push(sql`run_id = ${condition.runId}::uuid`);
  if (condition.taskKey !== undefined) parts.push(sql`task_key = ${condition.taskKey}`);
  if (condition.labels !== undefined) parts.push(sql`labels @> ${condition.labels}::jsonb`);
  if (condition.dueAfter !== undefined) parts.push(sql`due_at >= ${toInstant(condition.dueAfter)}`);
  if (condition.dueBefore !== undefined) parts.push(sql`due_at < ${toInstant(condition.dueBefore)}`);
  if (after) parts.push(sql`(due_at, id) > (${toInstant(after.dueAt)}, ${after.id}::uuid)`);
  return sql<boolean>`${sql.join(parts, sql` AND `)}`;
}

/**
 * A tenant's timers in the order `(dueAt, id)`, at most `limit`, behind `after`. Each table gives its first rows by its
 * index `(tenant_id, due_at, id)`; one statement, so a timer that moves meanwhile is in exactly one of them.
 */
export function listTimers(
  database: Queryable,
  condition: TimerCondition,
  page: { limit: number; after?: DueAfter },
): Promise<TimerRecord[]> {
  return readPage(database, condition, page, ALL_TABLES);
}

/** The same of dead letters only. */
export function listDeadLetters(
  database: Queryable,
  condition: TimerCondition,
  page: { limit: number; after?: DueAfter },
): Promise<TimerRecord[]> {
  return readPage(database, condition, page, ['dead_letters']);
}

async function readPage(
  database: Queryable,
  condition: TimerCondition,
  { limit, after }: { limit: number; after?: DueAfter },
  among: readonly TimerTable[],
): Promise<TimerRecord[]> {
  const parts = chooseTables(condition, among).map((table) => {
    const columns = sql.raw(table === 'timers' ? LIVE_COLUMNS : ENDED_COLUMNS);
    return sql`(SELECT ${columns} FROM ${nameSource(table, condition)} WHERE ${toSql(table, condition, after)}
      ORDER BY due_at, id LIMIT ${limit})`;
  });
  if (parts.length === 0) return [];
  const query = sql<TimerRecord>`
    SELECT * FROM (${sql.join(parts, sql` UNION ALL `)}) AS found ORDER BY "dueAt", id LIMIT ${limit}`;
  return runQuery(database, query);
}

/** How many timers are meant, counted up to `max` and no further. */
export async function countTimers(
  database: Queryable,
  condition: TimerCondition,
  max: number,
  among: readonly TimerTable[] = ALL_TABLES,
): Promise<number> {
  const parts = chooseTables(condition, among).map(
    (table) => sql`(SELECT 1 FROM ${nameSource(table, condition)} WHERE ${toSql(table, condition)} LIMIT ${max})`,
  );
  if (parts.length === 0) return 0;
  const query = sql<{ count: number }>`SELECT count(*) AS count FROM (${sql.join(parts, sql` UNION ALL `)}) AS found`;
  const [row] = await runQuery(database, query);
  return Math.min(max, row!.count);
}

/** How many timers are due within one stretch of time that begins at `from` (epoch ms). */
export interface HistogramBucket {
  from: number;
  count: number;
}

/**
 * How many timers are due in each stretch of `bucketMs` since the epoch, empty ones left out, in order of time; at most
 * `max` of them. It reads every timer that is meant.
 */
export async function readTimerHistogram(
  database: Queryable,
  condition: TimerCondition,
  bucketMs: number,
  max: number,
): Promise<HistogramBucket[]> {
  const parts = chooseTables(condition, ALL_TABLES).map(
    (table) => sql`SELECT due_at FROM ${nameSource(table, condition)} WHERE ${toSql(table, condition)}`,
  );
  if (parts.length === 0) return [];
  const query = sql<HistogramBucket>`
    SELECT floor(date_part('epoch', due_at) * 1000 / ${bucketMs}::float8) * ${bucketMs}::float8 AS "from", count(*) AS count
    FROM (${sql.join(parts, sql` UNION ALL `)}) AS found GROUP BY 1 ORDER BY 1 LIMIT ${max}`;
  return runQuery(database, query);
}

function toInstant(ms: number) {
  return sql<number>`to_timestamp(${ms}::float8 / 1000)::timestamptz(3)`;
}
