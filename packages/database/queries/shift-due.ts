import { LAST_INSTANT_MS } from '@punctual/domain';

const LAST_INSTANT = `'${new Date(LAST_INSTANT_MS).toISOString()}'::timestamptz`;

/** SQL: a due time moved by an interval. The last instant there is, at which nothing comes due that waits for a signal, stays. */
export function shiftDue(by: string, dueAt = 't.due_at'): string {
  return `(CASE WHEN ${dueAt} >= ${LAST_INSTANT} THEN ${dueAt} ELSE ${dueAt} + ${by} END)`;
}
