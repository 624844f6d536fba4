import type { Queryable } from '../connect.ts';
import { readLongestRetention } from './retention.ts';

/**
 * Tables whose rows leave a day at a time, the column that tells the day, and whether a tenant or a workflow may keep it for
 * longer than the installation does.
 */
const TABLES_BY_DAY = [
  ['finished_timers', 'finished_at', true],
  ['attempts', 'finished_at', true],
  ['audit_log', 'created_at', false],
] as const;
/** Days for which partitions stand ready. */
const DAYS_AHEAD = 7;
/** Days that one call drops at most, a table; the rest waits for the next call. */
const DAYS_DROPPED_MAX = 31;
/**
 * Gives way rather than hold up traffic, which queues behind a lock that is waited for (a long report may hold the other
 * side of it for minutes): the next call tries again.
 */
const LOCK_TIMEOUT_MS = 250;
const DAY_MS = 86_400_000;
/** Rows of the default partition, where none should be, that one call deletes at most. */
const STRAYS_DELETED_MAX = 10_000;
/** SQLSTATE of "updated partition constraint for default partition would be violated by some row". */
const CHECK_VIOLATION = '23514';
// "PDAY" in ASCII.
const ADVISORY_LOCK_KEY = 0x50444159;

interface Transaction extends Pick<Queryable, 'query'> {}

/** What was made and dropped, and the first day of the history that is kept (epoch ms); undefined when somebody else was at it. */
export interface KeptDays {
  created: string[];
  dropped: string[];
  oldestDayAt: number | undefined;
}

/**
 * Makes the partitions of today and the days ahead, and drops those whose last day ended more than
 * `retentionDays` ago, or as long ago as some tenant or workflow keeps what has ended, when that is longer. `client` must be in a transaction of its own; when another caller is at it, does nothing.
 * Creating takes a brief lock on the parent table, dropping an exclusive one.
 */
export async function keepHistoryDays(client: Transaction, now: number, retentionDays: number): Promise<KeptDays> {
  await client.query(`SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}`);
  const lock = await client.query<{ got: boolean }>('SELECT pg_try_advisory_xact_lock($1) AS got', [ADVISORY_LOCK_KEY]);
  const created: string[] = [];
  const dropped: string[] = [];
  if (!lock.rows[0]!.got) return { created, dropped, oldestDayAt: undefined };
  const longestDays = await readLongestRetention(client, retentionDays);
  let oldestDayAt = now;
  for (const [table, column, isKeptLonger] of TABLES_BY_DAY) {
    const days = isKeptLonger ? longestDays : retentionDays;
    const { rows } = await client.query<{ name: string }>(
      'SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = $1::regclass',
      [table],
    );
    const existing = new Set(rows.map((row) => row.name));
    for (let day = 0; day <= DAYS_AHEAD; day += 1) {
      const name = nameDay(table, now + day * DAY_MS);
      if (existing.has(name)) continue;
      const from = formatDay(now + day * DAY_MS);
      const to = formatDay(now + (day + 1) * DAY_MS);
      // Fails when the default partition holds rows of that day, because no keeper ran in time; they stay there.
      await client.query('SAVEPOINT day');
      try {
        await client.query(
          `CREATE TABLE ${name} PARTITION OF ${table} FOR VALUES FROM ('${from} 00:00:00+00') TO ('${to} 00:00:00+00')`,
        );
        created.push(name);
      } catch (error) {
        if ((error as { code?: string }).code !== CHECK_VIOLATION) throw error;
        await client.query('ROLLBACK TO SAVEPOINT day');
      }
    }
    const oldestKept = nameDay(table, now - days * DAY_MS);
    const old = [...existing].filter((name) => isDay(table, name) && name < oldestKept).toSorted();
    for (const name of old.slice(0, DAYS_DROPPED_MAX)) {
      await client.query(`DROP TABLE ${name}`);
      dropped.push(name);
    }
    for (const name of existing) {
      if (isDay(table, name) && !dropped.includes(name)) oldestDayAt = Math.min(oldestDayAt, parseDay(table, name));
    }
    await client.query(
      `DELETE FROM ${table}_default WHERE ctid = ANY (ARRAY(
         SELECT ctid FROM ${table}_default WHERE ${column} < to_timestamp($1::float8 / 1000) LIMIT ${STRAYS_DELETED_MAX}))`,
      [now - (days + 1) * DAY_MS],
    );
  }
  return { created, dropped, oldestDayAt };
}

function formatDay(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}

function nameDay(table: string, at: number): string {
  return `${table}_${formatDay(at).replaceAll('-', '')}`;
}

function parseDay(table: string, name: string): number {
  return Date.parse(name.slice(table.length + 1).replace(/^(\d{4})(\d\d)(\d\d)$/, '$1-$2-$3'));
}

function isDay(table: string, name: string): boolean {
  return name.startsWith(`${table}_`) && /^\d{8}$/.test(name.slice(table.length + 1));
}
