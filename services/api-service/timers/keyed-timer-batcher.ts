import type { TimerRequest } from '@punctual/contracts';
import {
  asTenant,
  type ChangeOrigin,
  findTimersByExternalId,
  IDEMPOTENCY_KEYS_PER_TRANSACTION_MAX,
  inTransaction,
  type NewTimer,
  readTimers,
  type Transaction,
} from '@punctual/database';
import { type ApiContext, readAnchorAt } from '../context.ts';
import { answerKeyed, type KeyedRequest, type KeyedResult } from '../plugins/idempotency.ts';
import { createInvalidRequest } from '../plugins/problems.ts';
import type { ProblemError } from '../problem.ts';
import { TenantBatchers } from '../tenant-batchers.ts';
import { createNewTimerAnswer } from './create-timer.ts';
import { prepareTimer } from './prepare-timer.ts';
import { renderRecord } from './read-timers.ts';
import { storeTimersTogether } from './timer-batcher.ts';

/** A request for one new timer that named an idempotency key. */
export interface KeyedTimerRequest extends KeyedRequest {
  timer: TimerRequest;
  origin: ChangeOrigin;
}

/** The batcher of single new timers with idempotency keys: timers and kept answers share a transaction on the hot connections. */
export function createKeyedTimerBatcher(
  context: Omit<ApiContext, 'keyedTimerBatcher'>,
): TenantBatchers<KeyedTimerRequest, KeyedResult> {
  const { config, database, metrics } = context;
  return new TenantBatchers({
    store: (requests) => {
      // Never empty, and all of one tenant.
      const { hot } = asTenant(database, requests[0]!.tenantId);
      return inTransaction(hot, (client) =>
        answerKeyed(client, requests, (unanswered) => createTogether(context, client, unanswered)),
      );
    },
    windowMs: config.API_BATCH_WINDOW_MS,
    batchItemsMax: Math.min(config.API_BATCH_TIMERS_MAX, IDEMPOTENCY_KEYS_PER_TRANSACTION_MAX),
    batchesMax: config.API_INSERTS_MAX,
    queueMax: config.API_CREATE_QUEUE_MAX,
    waitMsMax: config.API_ANSWER_TIMEOUT_MS,
    onBatch: (requests) => metrics.createBatchTimers.observe(requests),
    onRefuse: () => metrics.createRefused.inc(),
  });
}

// Of requests that are never none, and all of one tenant. Prepared only here, when it is known that the key has no answer: a
// repeat gets the first answer even when the request would be refused by now. All external ids are taken by one statement, in
// their order; nothing after it waits for others.
async function createTogether(
  context: Omit<ApiContext, 'keyedTimerBatcher'>,
  client: Transaction,
  requests: readonly KeyedTimerRequest[],
): Promise<KeyedResult[]> {
  const anchorAt = readAnchorAt(context);
  const prepared = requests.map(({ tenantId, timer, origin }) =>
    prepareTimer(context, tenantId, timer, anchorAt, origin),
  );
  const timers = prepared.flatMap((one) => (one.faults || one.isSkipped ? [] : [one.timer]));
  const refusals = await findRefusals(context, client, timers);
  const stored = await storeTimersTogether(
    client,
    timers.filter((timer) => !refusals.has(timer)),
  );
  const taken = timers.filter((timer) => timer.externalId !== null && !stored.has(timer.id));
  for (const timer of taken) if (!refusals.has(timer)) context.liveTimers.give(timer.tenantId, 1);
  const existing = await readExisting(context, client, requests[0]!.tenantId, taken);
  return prepared.map((one): KeyedResult => {
    if (one.faults) return createInvalidRequest(one.faults);
    const { timer } = one;
    if (stored.has(timer.id)) return createNewTimerAnswer(timer);
    // What ends at once, and an external id whose timer is gone for good, are seldom: each has a transaction of its own.
    const body = existing.get(timer);
    return body === undefined ? refusals.get(timer) : { status: 200, body };
  });
}

/** Those for which their tenant has no room. Each is let in by itself, as each is a request by itself. */
async function findRefusals(
  { liveTimers }: Pick<ApiContext, 'liveTimers'>,
  client: Transaction,
  timers: readonly NewTimer[],
): Promise<Map<NewTimer, ProblemError>> {
  const refusals = new Map<NewTimer, ProblemError>();
  for (const timer of timers) {
    if (!liveTimers.isBounded(timer.tenantId)) continue;
    const refusal = await liveTimers.take(timer.tenantId, 1, client);
    if (refusal) refusals.set(timer, refusal);
  }
  return refusals;
}

/** The tenant's timers that have the external ids, as JSON text. */
async function readExisting(
  context: Pick<ApiContext, 'database' | 'workflowVersions'>,
  client: Transaction,
  tenantId: string,
  taken: readonly NewTimer[],
): Promise<Map<NewTimer, string>> {
  const texts = new Map<NewTimer, string>();
  if (taken.length === 0) return texts;
  const ids = await findTimersByExternalId(
    client,
    tenantId,
    taken.map((timer) => timer.externalId!),
  );
  for (const timer of taken) {
    // One by one: each is a request of its own, of which nothing is left out.
    const id = ids.get(timer.externalId!);
    const record = id === undefined ? undefined : (await readTimers(client, tenantId, [id])).get(id);
    if (record) texts.set(timer, await renderRecord(context, record, client));
  }
  return texts;
}
