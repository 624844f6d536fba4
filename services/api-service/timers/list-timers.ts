import { PAGE_ITEMS_DEFAULT } from '@punctual/contracts';
import { asTenant, type DueAfter, type Queryable, type TimerCondition, type TimerRecord } from '@punctual/database';
import type { ApiContext } from '../context.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import { createInvalidRequest } from '../plugins/problems.ts';
import { renderRecord } from './read-timers.ts';

/** The timers of one page as JSON (bytes), when there are more than one: with large payloads a page is shorter than asked for. */
const PAGE_BYTES_MAX = 4_194_304;
/** The last instant that a Date can hold (epoch ms, ECMA-262). */
const INSTANT_MS_MAX = 8.64e15;

type ReadPage = (
  database: Queryable,
  condition: TimerCondition,
  page: { limit: number; after?: DueAfter },
) => Promise<TimerRecord[]>;

type Render = (context: ApiContext, record: TimerRecord, database: Queryable) => Promise<string>;

/** One page of timers as JSON text, of PAGE_BYTES_MAX at most. One row more than asked for tells whether another page follows. */
export async function listPage(
  context: ApiContext,
  read: ReadPage,
  condition: TimerCondition,
  page: { limit?: number; cursor?: string },
  render: Render = renderRecord,
): Promise<string> {
  const { hot, ordinary } = asTenant(context.database, condition.tenantId);
  const limit = page.limit ?? PAGE_ITEMS_DEFAULT;
  const after = readAfter(page.cursor);
  const rows = await read(ordinary, condition, {
    limit: limit + 1,
    ...(after && { after }),
  });
  const texts: string[] = [];
  let bytes = 0;
  for (const record of rows.slice(0, limit)) {
    const text = await render(context, record, hot);
    bytes += Buffer.byteLength(text);
    if (texts.length > 0 && bytes > PAGE_BYTES_MAX) break;
    texts.push(text);
  }
  const last = rows.length > texts.length ? rows[texts.length - 1] : undefined;
  const nextCursor = last ? encodeCursor({ at: last.dueAt, id: last.id }) : null;
  return `{"data":[${texts.join(',')}],"nextCursor":${JSON.stringify(nextCursor)}}`;
}

/** Nothing is due before the epoch; what Postgres can not even represent must not reach it. */
function readAfter(text: string | undefined): DueAfter | undefined {
  const cursor = decodeCursor(text);
  if (cursor && (cursor.at < 0 || cursor.at > INSTANT_MS_MAX))
    throw createInvalidRequest([{ pointer: '/query/cursor', detail: 'It is not a cursor of this list.' }]);
  return cursor && { dueAt: cursor.at, id: cursor.id };
}
