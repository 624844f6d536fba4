import { PAGE_ITEMS_DEFAULT } from '@punctual/contracts';
import type { DueAfter, TimerCondition, TimerRecord } from '@punctual/database';
import type { ApiContext } from '../context.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import { renderPage, renderRecord } from './read-timers.ts';

type ReadPage = (
  database: ApiContext['database'],
  condition: TimerCondition,
  page: { limit: number; after?: DueAfter },
) => Promise<TimerRecord[]>;

/** One page of timers as JSON text. One row more than asked for tells whether another page follows. */
export async function listPage(
  context: ApiContext,
  read: ReadPage,
  condition: TimerCondition,
  page: { limit?: number; cursor?: string },
  render: (record: TimerRecord) => Promise<string> = (record) => renderRecord(context, record),
): Promise<string> {
  const limit = page.limit ?? PAGE_ITEMS_DEFAULT;
  const after = decodeCursor(page.cursor);
  const rows = await read(context.database, condition, {
    limit: limit + 1,
    ...(after && { after: { dueAt: after.at, id: after.id } }),
  });
  const shown = rows.slice(0, limit);
  const last = rows.length > limit ? shown.at(-1) : undefined;
  return renderPage(context, shown, last ? encodeCursor({ at: last.dueAt, id: last.id }) : null, render);
}
