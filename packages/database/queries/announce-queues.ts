import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';

/** A tenant's queue in which there is something to lease. */
export interface AnnouncedQueue {
  tenantId: string;
  queue: string;
}

/** What schedulers notify of, and every api listens to. Postgres keeps channels of different databases apart. */
export const ANNOUNCEMENT_CHANNEL = 'punctual_task_queues';
/** Postgres takes less than 8,000 bytes. */
export const ANNOUNCEMENT_BYTES_MAX = 7_900;

// Waits, when it commits, for other transactions of the whole database that notify; only schedulers do.
const notify = nameStatement(
  'announce_queues',
  `SELECT pg_notify('${ANNOUNCEMENT_CHANNEL}', payload) FROM unnest($1::text[]) AS a(payload)`,
);

/** Tells every api that listens of queues in which there is something to lease. A hint: it may be lost. */
export async function announceQueues(database: Queryable, queues: readonly AnnouncedQueue[]): Promise<void> {
  if (queues.length > 0) await notify(database, [renderAnnouncements(queues)]);
}

/** As few payloads as will hold them: `<tenant> <queue>`, with line breaks between. Names hold neither. */
export function renderAnnouncements(queues: readonly AnnouncedQueue[]): string[] {
  const payloads: string[] = [];
  let payload = '';
  for (const { tenantId, queue } of queues) {
    const line = `${tenantId} ${queue}`;
    // Ids and names are ASCII: a character is a byte.
    if (payload !== '' && payload.length + 1 + line.length > ANNOUNCEMENT_BYTES_MAX) {
      payloads.push(payload);
      payload = '';
    }
    payload += payload === '' ? line : `\n${line}`;
  }
  if (payload !== '') payloads.push(payload);
  return payloads;
}

/** Reads what `renderAnnouncements` made; what is anything else is left out. */
export function parseAnnouncement(payload: string): AnnouncedQueue[] {
  return payload.split('\n').flatMap((line) => {
    const [tenantId, queue] = line.split(' ');
    return tenantId && queue ? [{ tenantId, queue }] : [];
  });
}
