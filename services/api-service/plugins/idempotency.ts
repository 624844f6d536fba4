import { hash } from 'node:crypto';
import {
  asTenant,
  findIdempotentAnswers,
  type IdempotencyKey,
  type IdempotentAnswer,
  inTransaction,
  STATUS_ERASED,
  storeIdempotentAnswers,
  type Transaction,
  type TransactionPool,
  tryLockIdempotencyKeys,
} from '@punctual/database';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ApiContext } from '../context.ts';
import { ProblemError } from '../problem.ts';
import { createInvalidRequest } from './problems.ts';

/** What a change answers. A `body` that is text is JSON already; undefined: no body. */
export interface Answer {
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
}

/** A request that named an idempotency key. */
export interface KeyedRequest extends IdempotencyKey {
  requestHash: Buffer;
}

/** The answer to a keyed request, or why it was refused; undefined: nothing was done, it wants a transaction of its own. */
export type KeyedResult = Answer | ProblemError | undefined;

const KEY = /^[\x21-\x7e]{1,255}$/;

/**
 * Runs `work`, at most once for each `Idempotency-Key` of the tenant within 24 hours: a repeat gets the first answer
 * again (422 when its request differs, 409 while the first is under way). With a key, `work` gets the connection of the
 * transaction that also stores the answer, and must do everything on it; without one it gets nothing.
 * What `work` throws rolls all of it back and is not kept.
 *
 * With `together` requests with keys go there first, to share a transaction with others by `answerKeyed`. The transaction
 * is one of the request's tenant, which sees that tenant's rows only, unless a `pool` is given: operators reach further.
 */
export async function runIdempotently(
  context: Pick<ApiContext, 'database'>,
  request: FastifyRequest,
  work: (client?: Transaction) => Promise<Answer>,
  options: { together?: (keyed: KeyedRequest) => Promise<KeyedResult>; pool?: TransactionPool } = {},
): Promise<Answer> {
  const keyed = readKeyedRequest(request);
  if (!keyed) return work();
  let result = await options.together?.(keyed);
  // On the connections of the creates, not on those of reads and of the health check.
  const pool = options.pool ?? asTenant(context.database, keyed.tenantId).hot;
  result ??= await inTransaction(pool, async (client) => {
    const [alone] = await answerKeyed(client, [keyed], async () => [await work(client)]);
    return alone!;
  });
  if (result instanceof ProblemError) throw result;
  return result;
}

function readKeyedRequest(request: FastifyRequest): KeyedRequest | undefined {
  const key = request.headers['idempotency-key'];
  if (key === undefined) return undefined;
  if (typeof key !== 'string' || !KEY.test(key)) {
    throw createInvalidRequest([
      { pointer: '/headers/idempotency-key', detail: 'It must be 1 to 255 visible ASCII characters.' },
    ]);
  }
  const { tenantId, method, url, body } = request;
  return { tenantId, key, requestHash: hash('sha256', `${method} ${url}\n${JSON.stringify(body) ?? ''}`, 'buffer') };
}

/**
 * Answers requests in the order given, each key at most once, in the transaction of `client`, which also keeps the
 * answers. `work` gets those that nobody has answered, no two with one key, and answers in their order; what it refuses
 * must have left nothing behind and is not kept. A request whose key comes twice is answered as a repeat of the first;
 * when that one has no answer, the other is left to a transaction of its own. Takes at most
 * IDEMPOTENCY_KEYS_PER_TRANSACTION_MAX requests; what `work` locks must not wait in a circle.
 */
export async function answerKeyed<Request extends KeyedRequest>(
  client: Transaction,
  requests: readonly Request[],
  work: (unanswered: readonly Request[]) => Promise<KeyedResult[]>,
): Promise<KeyedResult[]> {
  const firsts = new Map<string, Request>();
  for (const request of requests) if (!firsts.has(nameKey(request))) firsts.set(nameKey(request), request);
  const locked = await tryLockIdempotencyKeys(client, [...firsts.values()]);
  const answers = new Map(
    (await findIdempotentAnswers(client, locked)).map((answer) => [nameKey(answer), answer] as const),
  );
  const unanswered = locked.map(nameKey).filter((name) => !answers.has(name));
  const results = unanswered.length === 0 ? [] : await work(unanswered.map((name) => firsts.get(name)!));
  const resultsByName = new Map(unanswered.map((name, index) => [name, results[index]]));
  const made: IdempotentAnswer[] = [];
  for (const [name, result] of resultsByName) {
    if (result && !(result instanceof ProblemError)) made.push(keepAnswer(firsts.get(name)!, result));
  }
  await storeIdempotentAnswers(client, made);
  for (const answer of made) answers.set(nameKey(answer), answer);
  const lockedNames = new Set(locked.map(nameKey));
  return requests.map((request) => {
    const name = nameKey(request);
    if (!lockedNames.has(name)) return createInProgress();
    const answer = answers.get(name);
    if (answer) return repeatAnswer(answer, request);
    return firsts.get(name) === request ? resultsByName.get(name) : undefined;
  });
}

/** Keys hold no spaces. */
function nameKey({ tenantId, key }: IdempotencyKey): string {
  return `${tenantId} ${key}`;
}

function keepAnswer({ tenantId, key, requestHash }: KeyedRequest, answer: Answer): IdempotentAnswer {
  const { status, headers = {} } = answer;
  return { tenantId, key, requestHash, status, headers, body: renderBody(answer.body) ?? '' };
}

function repeatAnswer(answer: IdempotentAnswer, request: KeyedRequest): Answer | ProblemError {
  if (answer.status === STATUS_ERASED) {
    return new ProblemError(
      STATUS_ERASED,
      'answer_erased',
      'It was done, and what it was answered was erased with a run or a timer.',
    );
  }
  if (!answer.requestHash.equals(request.requestHash)) {
    return new ProblemError(422, 'idempotency_mismatch', 'This idempotency key was used for another request.');
  }
  return { status: answer.status, body: answer.body === '' ? undefined : answer.body, headers: answer.headers };
}

function createInProgress(): ProblemError {
  return new ProblemError(409, 'idempotency_in_progress', 'A request with this idempotency key is still under way.', {
    headers: { 'retry-after': '1' },
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
