import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { areFaultsOn } from './faults/injector.ts';

/** What is looked at of an answer of the API. */
export interface ApiAnswer {
  status: number;
  retryAfter: string | null | undefined;
  /** The `code` of a problem. */
  code: unknown;
}

/** Methods that change something. */
const CHANGES = new Set(['POST', 'PUT', 'PATCH', 'DELETE']);
/** How often a request is sent again; at the highest rate of faults one in a million would need more. */
const REPEATS_MAX = 20;
/** What an api in the same process needs between two tries (ms). It says a second, which tests of a thousand requests have not. */
const PAUSE_MAX_MS = 50;

/**
 * What a client has to do that wants an answer from an API which fails now and then: name each change by an idempotency
 * key, and send again what is answered 503, or 409 because the first one is still under way. Without injected faults
 * nothing of that: the request is sent once, as it is.
 */
export async function sendPersistently<Answer>(
  method: string,
  headers: Record<string, string>,
  send: (headers: Record<string, string>) => Promise<Answer>,
  look: (answer: Answer) => ApiAnswer,
): Promise<Answer> {
  if (!areFaultsOn()) return send(headers);
  const named = CHANGES.has(method) ? { 'idempotency-key': randomUUID(), ...headers } : headers;
  for (let repeats = 0; ; repeats += 1) {
    const answer = await send(named);
    const { status, retryAfter, code } = look(answer);
    const isToBeRepeated = (status === 503 && Number(retryAfter) > 0) || code === 'idempotency_in_progress';
    if (!isToBeRepeated || repeats >= REPEATS_MAX) return answer;
    await sleep(Math.min(Number(retryAfter) * 1000, PAUSE_MAX_MS));
  }
}
