import { isUtf8 } from 'node:buffer';
import { JSON_DEPTH_MAX } from '@punctual/contracts';
import type { Fault } from '@punctual/domain';
import type { ApiServer } from '../api-server.ts';
import { ProblemError } from '../problem.ts';

/**
 * Reads JSON bodies, and refuses what would hurt further on: invalid UTF-8; keys that reach into prototypes; and, since
 * Postgres can not store them, NUL characters, lone surrogates and numbers beyond the range of a double.
 * Other content types are refused by not being known.
 */
export function addJsonBody(app: ApiServer): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => {
    try {
      done(null, parseJsonBody(body as Buffer));
    } catch (error) {
      done(error as Error, undefined);
    }
  });
}

/** Parses one body; an empty one is undefined. Throws ProblemError (400). */
function parseJsonBody(body: Buffer): unknown {
  if (body.length === 0) return undefined;
  if (!isUtf8(body)) throw refuse({ pointer: '', detail: 'The body is not valid UTF-8.' });
  const text = body.toString('utf8');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw refuse({ pointer: '', detail: 'The body is not valid JSON.' });
  }
  // NUL and lone surrogates can come in as escapes only: the decoder and the parser have refused the raw forms.
  const fault = findFault(value, text.includes('\\u'), 0);
  if (fault) throw refuse(fault);
  return value;
}

function refuse(fault: Fault): ProblemError {
  return new ProblemError(400, 'invalid_request', fault.detail, { errors: [fault] });
}

/** The first fault in a value that JSON.parse made. It recurses no deeper than JSON_DEPTH_MAX. */
function findFault(value: unknown, hasEscapes: boolean, depth: number): Fault | undefined {
  if (typeof value === 'string') return hasEscapes ? findTextFault(value) : undefined;
  if (typeof value === 'number') {
    return Number.isFinite(value) ? undefined : { pointer: '', detail: 'The number is out of range.' };
  }
  if (typeof value !== 'object' || value === null) return undefined;
  if (depth >= JSON_DEPTH_MAX) return { pointer: '', detail: `The nesting is deeper than ${JSON_DEPTH_MAX}.` };
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index += 1) {
      const fault = findFault(value[index], hasEscapes, depth + 1);
      if (fault) return { ...fault, pointer: `/${index}${fault.pointer}` };
    }
    return undefined;
  }
  const fields = value as Record<string, unknown>;
  for (const key of Object.keys(fields)) {
    const fault = findKeyFault(key, fields, hasEscapes) ?? findFault(fields[key], hasEscapes, depth + 1);
    if (fault) return { ...fault, pointer: `/${escapePointer(key)}${fault.pointer}` };
  }
  return undefined;
}

function findKeyFault(key: string, fields: Record<string, unknown>, hasEscapes: boolean): Fault | undefined {
  if (key === '__proto__') return { pointer: '', detail: 'This key is not allowed.' };
  if (key === 'constructor') {
    const inner = fields[key];
    if (typeof inner === 'object' && inner !== null && Object.hasOwn(inner, 'prototype')) {
      return { pointer: '/prototype', detail: 'This key is not allowed.' };
    }
  }
  return hasEscapes ? findTextFault(key) : undefined;
}

function findTextFault(text: string): Fault | undefined {
  if (text.includes('\0')) return { pointer: '', detail: 'Text must not hold a NUL character.' };
  if (!text.isWellFormed()) return { pointer: '', detail: 'Text must not hold half of a surrogate pair.' };
  return undefined;
}

/** One step of a JSON pointer (RFC 6901), made fit for an answer: what can not be shown is replaced. */
export function escapePointer(key: string): string {
  const shown = key.length > POINTER_STEP_LENGTH_MAX ? `${key.slice(0, POINTER_STEP_LENGTH_MAX)}…` : key;
  return shown.toWellFormed().replaceAll('~', '~0').replaceAll('/', '~1');
}

/** An answer must not repeat a megabyte that somebody sent as a key. */
const POINTER_STEP_LENGTH_MAX = 100;
