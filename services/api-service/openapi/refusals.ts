import { Problem } from '@punctual/contracts';
import type { TSchema } from 'typebox';

/** Codes of problems, by the status with which they are answered. */
export type Refusals = Readonly<Record<number, readonly string[]>>;

/** Where the schema of a refusal keeps its codes until the document is made. */
const CODES = 'x-codes';

/**
 * What a route may answer beside its success, for reasons of its own: part of its `response`. What any route of its kind
 * may answer (no key, a bad body …) is added by `describeRoute` and need not be named.
 */
export function refuse(refusals: Refusals): Record<number, TSchema> {
  const entries = Object.entries(refusals);
  return Object.fromEntries(entries.map(([status, codes]) => [Number(status), { ...Problem, [CODES]: codes }]));
}

/** The codes of a schema that `refuse` made; undefined for any other. */
export function readCodes(schema: unknown): readonly string[] | undefined {
  return (schema as { [CODES]?: readonly string[] })[CODES];
}

/** Headers that answers carry, by name. */
const ANSWER_HEADERS = {
  etag: 'The version, in quotes; for `If-Match`.',
  location: 'The path of what was created.',
  'retry-after': 'Seconds after which to try again.',
  'www-authenticate': 'How to authenticate (RFC 6750).',
  'x-request-id': "The request's own id when it sent one, else a new one. It stands in logs and problems.",
} as const;
export type AnswerHeader = keyof typeof ANSWER_HEADERS;

/** The schema of an answer that carries these headers, too. */
export function withHeaders(schema: TSchema, ...names: readonly AnswerHeader[]): TSchema {
  return { ...schema, headers: describeHeaders(names) } as TSchema;
}

/** As the document wants them. */
export function describeHeaders(names: readonly AnswerHeader[]) {
  return Object.fromEntries(names.map((name) => [name, { type: 'string', description: ANSWER_HEADERS[name] }]));
}
