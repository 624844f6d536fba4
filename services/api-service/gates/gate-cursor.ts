import { GATE_KINDS } from '@punctual/contracts';
import { createInvalidRequest } from '../plugins/problems.ts';

/** Makes the opaque text of a cursor of the list of gates. */
export function encodeGateCursor({ kind, name }: { kind: string; name: string }): string {
  return Buffer.from(`${kind} ${name}`).toString('base64url');
}

/** Reads it back; undefined stays undefined. Throws a 400 when it is none. */
export function decodeGateCursor(text: string | undefined): { kind: string; name: string } | undefined {
  if (text === undefined) return undefined;
  const bytes = Buffer.from(text, 'base64url').toString();
  const kind = GATE_KINDS.find((known) => bytes.startsWith(`${known} `));
  const cursor = { kind: kind ?? '', name: bytes.slice((kind ?? '').length + 1) };
  if (kind !== undefined && cursor.name !== '' && !cursor.name.includes('\0') && encodeGateCursor(cursor) === text)
    return cursor;
  throw createInvalidRequest([{ pointer: '/query/cursor', detail: 'It is not a cursor of this list.' }]);
}
