import { hash } from 'node:crypto';
import {
  findIdempotentAnswer,
  inTransaction,
  storeIdempotentAnswer,
  type Transaction,
  tryLockIdempotencyKey,
} from '@punctual/database';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ApiContext } from '../context.ts';
import { ProblemError } from '../problem.ts';
import { createInvalidRequest } from './problems.ts';

/** What a POST answers. A `body` that is text is JSON already; undefined: no body. */
export interface Answer {
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
}

const KEY = /^[\x21-\x7e]{1,255}$/;

/**
 * Runs `work`, at most once for each `Idempotency-Key` of the tenant within 24 hours: a repeat gets the first answer
 * again (422 when its request differs, 409 while the first is under way). With a key, `work` gets the connection of the
 * transaction that also stores the answer, and must do everything on it; without one it gets nothing.
 * What `work` throws rolls all of it back and is not kept.
 */
export async function runIdempotently(
  context: Pick<ApiContext, 'database'>,
  request: FastifyRequest,
  work: (client?: Transaction) => Promise<Answer>,
): Promise<Answer> {
  const key = request.headers['idempotency-key'];
  if (key === undefined) return work();
  if (typeof key !== 'string' || !KEY.test(key)) {
    throw createInvalidRequest([
      { pointer: '/headers/idempotency-key', detail: 'It must be 1 to 255 visible ASCII characters.' },
    ]);
  }
  const { tenantId } = request;
  const requestHash = hash(
    'sha256',
    `${request.method} ${request.url}\n${JSON.stringify(request.body) ?? ''}`,
    'buffer',
  );
  // On the connections of the creates, not on those of reads and of the health check.
  return inTransaction(context.database.hot, async (client) => {
    if (!(await tryLockIdempotencyKey(client, tenantId, key))) {
      throw new ProblemError(
        409,
        'idempotency_in_progress',
        'A request with this idempotency key is still under way.',
        {
          headers: { 'retry-after': '1' },
        },
      );
    }
    const first = await findIdempotentAnswer(client, tenantId, key);
    if (first) {
      if (!first.requestHash.equals(requestHash)) {
        throw new ProblemError(422, 'idempotency_mismatch', 'This idempotency key was used for another request.');
      }
      return { status: first.status, body: first.body === '' ? undefined : first.body, headers: first.headers };
    }
    const answer = await work(client);
    const body = renderBody(answer.body);
    await storeIdempotentAnswer(client, {
      tenantId,
      key,
      requestHash,
      status: answer.status,
      headers: answer.headers ?? {},
      body: body ?? '',
    });
    return { ...answer, body };
  });
}

function renderBody(body: unknown): string | undefined {
  return body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
}

/** Sends an answer as JSON. */
export function sendAnswer(reply: FastifyReply, answer: Answer) {
  reply.code(answer.status);
  for (const [name, value] of Object.entries(answer.headers ?? {})) reply.header(name, value);
  const body = renderBody(answer.body);
  if (body === undefined) return reply.send();
  return reply.header('content-type', 'application/json; charset=utf-8').send(body);
}
