import { crc32 } from 'node:zlib';
import { isId } from '@punctual/domain';
import { createInvalidRequest } from './plugins/problems.ts';

/** Where a page ended: an instant (epoch ms) and the id, or another name, that breaks ties. */
export interface Cursor {
  at: number;
  id: string;
}

/** Makes the opaque text of a cursor. It holds nothing secret; the check only tells a damaged one from a good one. */
export function encodeCursor(cursor: Cursor): string {
  const text = `${cursor.at}.${cursor.id}`;
  return Buffer.from(`${text}.${crc32(text).toString(36)}`).toString('base64url');
}

/** Reads a cursor back; undefined stays undefined. Throws a 400 when it is none of ours. */
export function decodeCursor(text: string | undefined): Cursor | undefined {
  if (text === undefined) return undefined;
  const [at = '', id = ''] = Buffer.from(text, 'base64url').toString('latin1').split('.');
  const cursor = { at: Number(at), id };
  // Whatever was changed in the text, it is not what these two parts would make.
  const isSound = Number.isSafeInteger(cursor.at) && isId(id) && encodeCursor(cursor) === text;
  if (!isSound) throw createInvalidRequest([{ pointer: '/query/cursor', detail: 'It is not a cursor of this api.' }]);
  return cursor;
}
