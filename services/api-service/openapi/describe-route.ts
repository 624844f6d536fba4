import { STATUS_CODES } from 'node:http';
import { Problem } from '@punctual/contracts';
import type { FastifySchema, RouteOptions } from 'fastify';
import { Type } from 'typebox';
import type { Scope } from '../api-server.ts';
import { OPS_SCHEMAS } from './ops-schemas.ts';
import { type AnswerHeader, describeHeaders, readCodes } from './refusals.ts';

/** What decides on the answers that a route may give whatever it does. */
interface Kind {
  /** The least scope that may call it; undefined: nobody needs a key. */
  scope: Scope | 'operator' | undefined;
  hasParams: boolean;
  /** Fastify reads the body of whatever is no GET, even where none is wanted. */
  readsBody: boolean;
  isKeyed: boolean;
  hasIfMatch: boolean;
}

/** An answer of many routes: when, and with which headers beside `x-request-id`. */
interface CommonRefusal {
  status: number;
  codes: readonly string[];
  headers?: readonly AnswerHeader[];
  isOf: (kind: Kind) => boolean;
}

const COMMON: readonly CommonRefusal[] = [
  { status: 400, codes: ['invalid_request'], isOf: () => true },
  { status: 401, codes: ['unauthorized'], headers: ['www-authenticate'], isOf: ({ scope }) => scope !== undefined },
  { status: 403, codes: ['scope_too_small'], isOf: ({ scope }) => scope === 'write' || scope === 'admin' },
  { status: 403, codes: ['operator_only'], isOf: ({ scope }) => scope === 'operator' },
  { status: 409, codes: ['idempotency_in_progress'], isOf: ({ isKeyed }) => isKeyed },
  { status: 412, codes: ['version_mismatch'], headers: ['etag'], isOf: ({ hasIfMatch }) => hasIfMatch },
  { status: 413, codes: ['body_too_large'], isOf: ({ readsBody }) => readsBody },
  { status: 414, codes: ['url_too_long'], isOf: ({ hasParams }) => hasParams },
  { status: 415, codes: ['unsupported_media_type'], isOf: ({ readsBody }) => readsBody },
  { status: 410, codes: ['answer_erased'], isOf: ({ isKeyed }) => isKeyed },
  { status: 422, codes: ['idempotency_mismatch'], isOf: ({ isKeyed }) => isKeyed },
  {
    status: 429,
    codes: ['rate_limited'],
    headers: ['retry-after'],
    isOf: ({ scope }) => scope !== undefined && scope !== 'operator',
  },
  // Never on purpose: a defect, and the log has a line about it.
  { status: 500, codes: ['internal_error'], isOf: ({ scope }) => scope !== undefined },
  {
    status: 503,
    codes: ['database_unavailable', 'overloaded'],
    headers: ['retry-after'],
    isOf: ({ scope }) => scope !== undefined,
  },
];

/** Codes of conflicts that pass by themselves: their answers say when to try again. */
const PASSING_CONFLICTS: readonly string[] = ['idempotency_in_progress', 'timer_changing'];

const IDEMPOTENCY_KEY = Type.String({
  minLength: 1,
  maxLength: 255,
  pattern: '^[\\x21-\\x7e]+$',
  description: 'A repeat within 24 hours gets the first answer again; 422 when its body differs.',
});
const IF_MATCH = Type.String({
  description: 'The ETag of the version that is to be changed, in quotes; 412 when it has another by now.',
  pattern: '^(?:\\*|(?:W\\/)?"[\\x21\\x23-\\x7e]*")$',
});

/** Marks an operation whose query takes `label.<key>` for the steps that follow. */
export const HAS_LABELS = 'x-has-labels';

type Schema = FastifySchema & Record<string, unknown>;

/**
 * What the document says of a route: its own schema and, from what kind of route it is, the headers that it takes, who may
 * call it, and everything that it may answer beside its success.
 */
export function describeRoute({ schema, url, route }: { schema?: FastifySchema; url: string; route: RouteOptions }): {
  schema: Schema;
  url: string;
} {
  // Health and metrics are routes of every service; only the api has a document to describe them in.
  const own = (OPS_SCHEMAS[url] ?? schema ?? {}) as Schema;
  if (own.hide) return { schema: own, url };
  const kind = readKind(url, route, own);
  const headers = {
    ...(kind.isKeyed && { 'idempotency-key': Type.Optional(IDEMPOTENCY_KEY) }),
    ...(kind.hasIfMatch && { 'if-match': Type.Optional(IF_MATCH) }),
  };
  const query = own.querystring as { patternProperties?: object } | undefined;
  return {
    url,
    schema: {
      ...own,
      ...(Object.keys(headers).length > 0 && { headers: Type.Object(headers) }),
      ...(query?.patternProperties && { [HAS_LABELS]: true }),
      // The roles that OpenAPI 3.1 lets an operation ask for: one scope, which the larger ones include.
      security: kind.scope === undefined ? [] : [{ apiKey: [kind.scope] }],
      response: describeAnswers(own.response as Record<string, object>, kind),
    },
  };
}

function readKind(url: string, { method, config }: RouteOptions, schema: Schema): Kind {
  const isPublic = Array.isArray(schema.security) && schema.security.length === 0;
  const isGet = method === 'GET';
  const scope = isPublic ? undefined : (config?.scope ?? (isGet ? 'read' : 'write'));
  return {
    scope,
    hasParams: url.includes(':'),
    readsBody: !isGet,
    // A POST that stores nothing, which takes no more than a key that reads, need not be kept from being repeated.
    isKeyed: !isGet && scope !== 'read',
    hasIfMatch: config?.hasIfMatch === true,
  };
}

function describeAnswers(own: Record<string, object>, kind: Kind): Record<string, unknown> {
  const answers: Record<string, unknown> = {};
  const refusals = new Map<number, { codes: Set<string>; headers: Set<AnswerHeader> }>();
  const add = (status: number, codes: readonly string[], headers: readonly AnswerHeader[]) => {
    const refusal = refusals.get(status) ?? { codes: new Set(), headers: new Set() };
    for (const code of codes) refusal.codes.add(code);
    for (const header of headers) refusal.headers.add(header);
    refusals.set(status, refusal);
  };
  for (const [status, answer] of Object.entries(own)) {
    const codes = readCodes(answer);
    if (codes) add(Number(status), codes, []);
    else answers[status] = describeSuccess(Number(status), answer);
  }
  for (const { status, codes, headers = [], isOf } of COMMON) if (isOf(kind)) add(status, codes, headers);
  for (const [status, { codes, headers }] of refusals) {
    if (PASSING_CONFLICTS.some((code) => codes.has(code))) headers.add('retry-after');
    answers[status] = describeRefusal(status, [...codes], [...headers]);
  }
  return answers;
}

function describeSuccess(status: number, answer: object): object {
  const { headers } = answer as { headers?: object };
  return {
    ...answer,
    'x-response-description': STATUS_CODES[status],
    headers: { ...headers, ...describeHeaders(['x-request-id']) },
  };
}

function describeRefusal(status: number, codes: readonly string[], headers: readonly AnswerHeader[]): object {
  const particulars = Type.Object({ status: Type.Literal(status), code: Type.Enum([...codes]) });
  return {
    description: `${STATUS_CODES[status]}: ${codes.map((code) => `\`${code}\``).join(', ')}`,
    headers: describeHeaders([...headers, 'x-request-id']),
    content: { 'application/problem+json': { schema: Type.Intersect([Problem, particulars]) } },
  };
}
