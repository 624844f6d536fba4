import type { Operation } from './operation.ts';
import { nameOption } from './options.ts';
import type { ApiSettings } from './settings.ts';
import { clean } from './terminal.ts';

/** The fields of `application/problem+json` that are told. */
export interface Problem {
  status: number;
  code: string;
  detail: string;
  requestId?: string;
  errors?: { pointer: string; detail: string }[];
}

/** What to do about it, where the api's own words do not say so. */
const ADVICE: Readonly<Record<string, string>> = {
  scope_too_small: 'Use a key of that scope: set PUNCTUAL_API_KEY.',
  operator_only: 'Operators use an admin key of the default tenant: set PUNCTUAL_API_KEY.',
  rate_limited: 'The tenant sends more requests than it may: try again later.',
  overloaded: 'Try again in a moment; `punctual status` tells how the service is.',
  database_unavailable: 'The api does not reach Postgres: look at `punctual status`.',
  queue_unavailable: 'The api does not reach the queue: look at `punctual status`.',
  version_mismatch: 'Somebody changed it meanwhile: read it again.',
  internal_error: 'A defect: the log of the api has a line with the request id.',
};

/** A refusal in plain words, with the options to which it refers. */
export function explainProblem(problem: Problem, { apiKey }: ApiSettings, operation: Operation): string {
  const advice =
    problem.status === 401
      ? apiKey === undefined
        ? 'Set PUNCTUAL_API_KEY to an API key.'
        : 'The key in PUNCTUAL_API_KEY is not known here, or was revoked.'
      : ADVICE[problem.code];
  return [
    `Refused (${problem.status} ${clean(problem.code)}): ${clean(problem.detail)}`,
    ...(problem.errors ?? []).map(({ pointer, detail }) => `  ${namePlace(pointer, operation)}: ${clean(detail)}`),
    ...(advice === undefined ? [] : [advice]),
    ...(problem.requestId === undefined ? [] : [`Request id: ${clean(problem.requestId)}`]),
  ].join('\n');
}

/** `/delay/value` is within what `--delay` was given. */
function namePlace(pointer: string, { query, body, params }: Operation): string {
  const [, first = '', ...rest] = pointer.split('/');
  const isParam = first === 'params' && params.includes(rest[0] ?? '');
  if (isParam) return `<${rest[0]}>`;
  const [name, inner] = first === 'query' ? [rest[0] ?? '', rest.slice(1)] : [first, rest];
  const field = [...query, ...body].find((other) => other.name === name);
  if (!field) return clean(pointer === '' ? 'the request' : pointer);
  return inner.length === 0 ? `--${nameOption(field)}` : `--${nameOption(field)}, at /${clean(inner.join('/'))}`;
}
