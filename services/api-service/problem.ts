import type { Fault } from '@punctual/domain';

/**
 * A refusal that the client is told of as `application/problem+json` (RFC 9457).
 * `code` is stable and machine-readable (`timer_already_started`); `detail` says in plain words what to do.
 * `errors` point into the request. Extra `headers` go out with the answer, for example `Retry-After`.
 */
export class ProblemError extends Error {
  readonly status: number;
  readonly code: string;
  readonly errors: readonly Fault[] | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    code: string,
    detail: string,
    extra: { errors?: readonly Fault[]; headers?: Record<string, string> } = {},
  ) {
    super(detail);
    this.name = 'ProblemError';
    this.status = status;
    this.code = code;
    this.errors = extra.errors;
    this.headers = extra.headers ?? {};
  }
}

/** The answer to what we have no room for at the moment. */
export function createOverloaded(detail: string): ProblemError {
  return new ProblemError(503, 'overloaded', detail, { headers: { 'retry-after': '1' } });
}
