import { PAGE_ITEMS_DEFAULT } from '@punctual/contracts';
import type { CreatedAfter, StoredPage } from '@punctual/database';
import { parseInstant } from '@punctual/domain';
import { Type } from 'typebox';
import { decodeCursor, encodeCursor } from './cursor.ts';
import { createInvalidRequest } from './plugins/problems.ts';

const LABEL_PREFIX = 'label.';

/** A dozen names and the commas between them. */
const STATUS_LIST_LENGTH_MAX = 100;
const StatusList = Type.String({ maxLength: STATUS_LIST_LENGTH_MAX });

/** `status` in a query: one, several with commas, or repeated. */
export const StatusQuery = Type.Optional(Type.Union([StatusList, Type.Array(StatusList, { maxItems: 10 })]));

/** Reads `limit` and `cursor` of a list in the order `(createdAt, id)`. */
export function readCreatedPage(query: { limit?: number; cursor?: string }): {
  limit: number;
  after: CreatedAfter | undefined;
} {
  const cursor = decodeCursor(query.cursor);
  // Nothing is older than the epoch; what Postgres can not even represent must not reach it.
  if (cursor && cursor.at < 0)
    throw createInvalidRequest([{ pointer: '/query/cursor', detail: 'It is not a cursor of this list.' }]);
  return { limit: query.limit ?? PAGE_ITEMS_DEFAULT, after: cursor && { createdAt: cursor.at, id: cursor.id } };
}

/** The answer of such a list. */
export function renderCreatedPage<Row extends { created_at: number; id: string }>(
  page: StoredPage<Row>,
  render: (row: Row) => unknown,
) {
  const last = page.rows.at(-1);
  return {
    data: page.rows.map(render),
    nextCursor: page.hasMore && last ? encodeCursor({ at: last.created_at, id: last.id }) : null,
  };
}

/** The labels that a query's `label.<key>=<value>` fields ask for; undefined when there are none. */
export function readLabels(query: Readonly<Record<string, unknown>>): Record<string, string> | undefined {
  const labels = Object.entries(query).filter(([name]) => name.startsWith(LABEL_PREFIX));
  if (labels.length === 0) return undefined;
  return Object.fromEntries(labels.map(([name, value]) => [name.slice(LABEL_PREFIX.length), String(value)]));
}

/** The statuses that a query's `status` names, repeated or with commas. Throws a 400 for one that is not `known`. */
export function readStatuses<Status extends string>(
  status: string | string[] | undefined,
  known: readonly Status[],
): Status[] | undefined {
  if (status === undefined) return undefined;
  const named = [status].flat().flatMap((text) => text.split(','));
  const isKnown = (text: string): text is Status => (known as readonly string[]).includes(text);
  if (named.every(isKnown)) return [...new Set(named)];
  throw createInvalidRequest([{ pointer: '/query/status', detail: `It must be one of ${known.join(', ')}.` }]);
}

/** Epoch ms of an instant in a query; undefined stays undefined. Throws a 400 when it is none. */
export function readQueryInstant(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const at = parseInstant(text);
  if (at !== undefined) return at;
  throw createInvalidRequest([
    {
      pointer: `/query/${name}`,
      detail: 'It must be an RFC 3339 date-time with Z or an offset, such as 2027-01-01T00:00:00Z.',
    },
  ]);
}
