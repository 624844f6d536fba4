import { STATUS_CODES } from 'node:http';
import type { Fault } from '@punctual/domain';
import { describeTrace, limitRate, OUTAGE_LOG_INTERVAL_MS } from '@punctual/runtime';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import type { ApiServer } from '../api-server.ts';
import type { ApiContext } from '../context.ts';
import { classifyDatabaseError } from '../database-faults.ts';
import { createOverloaded, ProblemError } from '../problem.ts';
import { describeFault } from './validation.ts';

/** Where the parts of a request stand in the pointers of faults. */
const POINTER_PREFIXES: Record<string, string> = {
  body: '',
  querystring: '/query',
  params: '/path',
  headers: '/headers',
};

const CODES_BY_STATUS: Record<number, string> = {
  413: 'body_too_large',
  414: 'url_too_long',
  415: 'unsupported_media_type',
};

/** Answers every failure as `application/problem+json`. Defects are logged, each with the id that the answer names, and now and then that
 * something of ours is away. */
export function addProblems(app: ApiServer, context: Pick<ApiContext, 'logger'>): void {
  // While Postgres is away every request fails alike.
  const warnSeldom = limitRate(
    (fields: object, text: string) => context.logger.warn(fields, text),
    OUTAGE_LOG_INTERVAL_MS,
  );
  app.setErrorHandler((error, request, reply) => {
    const problem = toProblem(error);
    const { id: requestId, span } = request;
    const fields = { err: error, requestId, route: request.routeOptions.url, ...describeTrace(span?.traceparent) };
    if (problem.code === 'internal_error') context.logger.error(fields, problem.message);
    else if (problem.status >= 500) warnSeldom(fields, problem.message);
    return sendProblem(reply, request, problem);
  });
}

/** What a client is told of an error. */
export function toProblem(error: unknown): ProblemError {
  if (error instanceof ProblemError) return error;
  const { validation, validationContext, statusCode } = error as FastifyError;
  if (validation) {
    const prefix = POINTER_PREFIXES[validationContext ?? 'body'] ?? '';
    return createInvalidRequest(
      validation.map((finding) => {
        const fault = describeFault(finding as Parameters<typeof describeFault>[0]);
        return { ...fault, pointer: prefix + fault.pointer };
      }),
    );
  }
  const databaseFault = classifyDatabaseError(error);
  if (databaseFault === 'exhausted') {
    return createOverloaded('All connections to the database are taken; send it again later.');
  }
  if (databaseFault === 'unavailable') {
    return new ProblemError(503, 'database_unavailable', 'The database can not be reached at the moment.', {
      headers: { 'retry-after': '1' },
    });
  }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new ProblemError(statusCode, CODES_BY_STATUS[statusCode] ?? 'invalid_request', describeStatus(statusCode));
  }
  return new ProblemError(500, 'internal_error', 'Something went wrong; the request id helps to find out what.');
}

/** A 400 that names what is wrong. There is at least one fault. */
export function createInvalidRequest(faults: readonly Fault[]): ProblemError {
  const [first] = faults;
  const detail =
    first === undefined || first.pointer === '' ? (first?.detail ?? '') : `${first.pointer}: ${first.detail}`;
  return new ProblemError(400, 'invalid_request', detail, { errors: faults });
}

/** Throws a 400 when there are faults. */
export function refuseFaults(faults: readonly Fault[]): void {
  if (faults.length > 0) throw createInvalidRequest(faults);
}

function describeStatus(status: number): string {
  if (status === 413) return 'The body is larger than allowed.';
  if (status === 414) return 'A part of the URL is too long.';
  if (status === 415) return 'Send the body as application/json.';
  return 'The request is not well-formed.';
}

/** The JSON object of a problem. */
export function renderProblem(problem: ProblemError, requestId: string) {
  return {
    type: 'about:blank',
    title: STATUS_CODES[problem.status] ?? 'Error',
    status: problem.status,
    detail: problem.message,
    code: problem.code,
    requestId,
    ...(problem.errors && { errors: problem.errors }),
  };
}

/** Sends a problem with its headers. */
export function sendProblem(reply: FastifyReply, request: FastifyRequest, problem: ProblemError) {
  for (const [name, value] of Object.entries(problem.headers)) reply.header(name, value);
  return (
    reply
      .code(problem.status)
      // What fails before the hooks have run has no id yet.
      .header('x-request-id', request.id)
      .header('content-type', 'application/problem+json; charset=utf-8')
      .send(JSON.stringify(renderProblem(problem, request.id)))
  );
}
