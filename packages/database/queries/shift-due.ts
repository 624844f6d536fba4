import { LAST_INSTANT_MS } from '@punctual/domain';

const LAST_INSTANT = `'${new Date(LAST_INSTANT_MS).toISOString()}'::timestamptz`;

/** SQL: a due time moved by an interval. The last instant there is, at which nothing comes due that waits for a signal, stays. */
export function shiftDue(by: string, dueAt = 't.due_at'): string {
  return `(CASE WHEN ${dueAt} >= ${LAST_INSTANT} THEN ${dueAt} ELSE ${dueAt} + ${by} END)`;
}

/**
 * SQL: the due time of a row of timers (`t.` before its columns, or nothing) after a pause of that length. What a signal made due
 * in the pause, or before it, waits for nothing but the end of the pause.
 */
export function shiftDueByPause(pause: string, row = 't.'): string {
  const isDueBySignal = `${row}signal IS NOT NULL AND ${row}due_at <= clock_timestamp()`;
  return `(CASE WHEN ${isDueBySignal} THEN ${row}due_at ELSE ${shiftDue(pause, `${row}due_at`)} END)`;
}
