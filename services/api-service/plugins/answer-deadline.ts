import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ApiServer } from '../api-server.ts';
import type { ApiContext } from '../context.ts';
import { createOverloaded } from '../problem.ts';

/**
 * Answers 503 to requests that have waited for so long that the API would break its word. Every single wait has a limit of
 * its own, but a request may have to wait several times: for its key to be looked up, behind batches that fail one after
 * the other, for a connection, for each statement of its transaction. What was begun goes on, and may take effect, as
 * after any 503. To be added after authentication; while a body is on its way nobody waits for us, so that does not count.
 */
export function addAnswerDeadline(app: ApiServer, { config }: Pick<ApiContext, 'config'>): void {
  app.decorateRequest('authMs', 0);
  app.decorateRequest('answerTimer', undefined);
  app.addHook('preParsing', (request, reply, _payload, done) => {
    request.authMs = reply.elapsedTime;
    done();
  });
  app.addHook('preValidation', (request, reply, done) => {
    setDeadline(request, reply, config.API_ANSWER_TIMEOUT_MS - request.authMs);
    reply.raw.once('close', () => clearTimeout(request.answerTimer));
    done();
  });
}

/** For a request that asks to be answered later: its time begins anew, and is `waitMs` longer. */
export function allowWait(
  request: FastifyRequest,
  reply: FastifyReply,
  { config }: Pick<ApiContext, 'config'>,
  waitMs: number,
): void {
  clearTimeout(request.answerTimer);
  setDeadline(request, reply, waitMs + config.API_ANSWER_TIMEOUT_MS);
}

function setDeadline(request: FastifyRequest, reply: FastifyReply, inMs: number): void {
  request.answerTimer = setTimeout(
    () => {
      if (!reply.sent) reply.send(createOverloaded('There was no time for it; it may have been done all the same.'));
    },
    Math.max(0, inMs),
  );
}
