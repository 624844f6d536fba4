import { createId } from '@punctual/domain';
import type { ApiServer } from '../api-server.ts';
import { ProblemError } from '../problem.ts';
import { createInvalidRequest } from './problems.ts';

/** Ids that a client or proxy may send along: short, and safe to print. */
const REQUEST_ID = /^[A-Za-z0-9._:/+=-]{1,128}$/;

/** Makes request ids: one random part a process, then a count, so that an id costs next to nothing. */
export function createRequestIds(): (request: { headers: Record<string, string | string[] | undefined> }) => string {
  const prefix = createId().slice(-12);
  let count = 0;
  return ({ headers }) => {
    const sent = headers['x-request-id'];
    if (typeof sent === 'string' && REQUEST_ID.test(sent)) return sent;
    count += 1;
    return `${prefix}-${count.toString(36)}`;
  };
}

/** Puts the request's id on every answer, and refuses requests without a host and NUL characters in URLs. */
export function addRequestIdentity(app: ApiServer): void {
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id);
    if (request.raw.headers.host === undefined && request.raw.httpVersion === '1.1') {
      done(new ProblemError(400, 'malformed_http', 'The request names no host.'));
      return;
    }
    // No text column can hold a NUL, and no id, name or filter is meant to.
    if (request.raw.url?.includes('%00')) {
      done(createInvalidRequest([{ pointer: '', detail: 'The URL must not hold a NUL character.' }]));
    } else {
      done();
    }
  });
}
