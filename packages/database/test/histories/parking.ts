import type { Queryable } from '@punctual/database';

// No statement of the product pauses a timer yet. These do what the schema says of one that is parked: it waits in the
// state `paused` and wakes at no time. With them the histories show what the statements that there are do to it.

const PAUSE = `
  UPDATE timers SET state = 'paused', version = version + 1, wake_at = 'infinity'
  WHERE id = $1 AND state = 'scheduled'
  RETURNING id, version`;
const RESUME = `
  UPDATE timers SET state = 'scheduled', version = version + 1, wake_at = greatest(due_at, clock_timestamp())
  WHERE id = $1 AND state = 'paused'
  RETURNING id, version`;

/** Parks a timer that waits; nothing happens to any other. */
export function pauseTimer(database: Queryable, id: string): Promise<unknown> {
  return database.query({ name: 'history_pause', text: PAUSE, values: [id] });
}

/** Lets a parked timer wait for its due time again. */
export function resumeTimer(database: Queryable, id: string): Promise<unknown> {
  return database.query({ name: 'history_resume', text: RESUME, values: [id] });
}
