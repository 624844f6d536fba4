import { LIMIT_KINDS } from '@punctual/contracts';
import { createInvalidRequest } from '../../plugins/problems.ts';

/** Makes the opaque text of a cursor of the list of limits: the name of the last lane. */
export function encodeLimitCursor(lane: string): string {
  return Buffer.from(lane).toString('base64url');
}

/** Reads it back; undefined is the beginning. Throws a 400 when it is none. */
export function decodeLimitCursor(text: string | undefined): string {
  if (text === undefined) return '';
  const lane = Buffer.from(text, 'base64url').toString();
  const isLane = LIMIT_KINDS.some((kind) => lane.startsWith(`${kind}:`)) && !lane.includes('\0');
  if (isLane && encodeLimitCursor(lane) === text) return lane;
  throw createInvalidRequest([{ pointer: '/query/cursor', detail: 'It is not a cursor of this list.' }]);
}
