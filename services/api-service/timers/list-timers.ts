import { PAGE_ITEMS_DEFAULT } from '@punctual/contracts';
import { asTenant, type DueAfter, type Queryable, type TimerCondition, type TimerRecord } from '@punctual/database';
import type { ApiContext } from '../context.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import { renderPage, renderRecord } from './read-timers.ts';

type ReadPage = (
  database: Queryable,
  condition: TimerCondition,
  page: { limit: number; after?: DueAfter },
) => Promise<TimerRecord[]>;

type Render = (context: ApiContext, record: TimerRecord, database: Queryable) => Promise<string>;

/** One page of timers as JSON text. One row more than asked for tells whether another page follows. */
export async function listPage(
  context: ApiContext,
  read: ReadPage,
  condition: TimerCondition,
  page: { limit?: number; cursor?: string },
  render: Render = renderRecord,
): Promise<string> {
  const { hot, ordinary } = asTenant(context.database, condition.tenantId);
  const limit = page.limit ?? PAGE_ITEMS_DEFAULT;
  const after = decodeCursor(page.cursor);
  const rows = await read(ordinary, condition, {
    limit: limit + 1,
    ...(after && { after: { dueAt: after.at, id: after.id } }),
  });
  const shown = rows.slice(0, limit);
  const last = rows.length > limit ? shown.at(-1) : undefined;
  const nextCursor = last ? encodeCursor({ at: last.dueAt, id: last.id }) : null;
  return renderPage(shown, nextCursor, (record) => render(context, record, hot));
}
