import type { TimerRequest } from '@punctual/contracts';
import {
  asTenant,
  type ChangeOrigin,
  claimTimerExternalIds,
  createRequestedTimers,
  createSkippedTimers,
  createTimers,
  findTimersByExternalId,
  inTransaction,
  type NewTimer,
  type Queryable,
  type RequestedTimer,
  readTimers,
  recordChanges,
  recordTraces,
  releaseTimerExternalId,
  type Transaction,
  type TransactionPool,
} from '@punctual/database';
import { type ApiContext, readAnchorAt } from '../context.ts';
import type { Answer } from '../plugins/idempotency.ts';
import { createInvalidRequest } from '../plugins/problems.ts';
import { ProblemError } from '../problem.ts';
import { prepareTimer } from './prepare-timer.ts';
import { readTimerText, renderRecord } from './read-timers.ts';
import { renderNewTimer } from './render-timer.ts';

/**
 * How often a timer is offered again when its external id stood for one that retention dropped meanwhile. Once is
 * enough unless somebody else takes the id in between, who then has a timer to be shown.
 */
const OFFERS_MAX = 3;

/**
 * Stores one timer: 201, or 200 with the one that has its external id. Resolves when it is committed, or, with a
 * `client`, when it is stored in that transaction. Throws a 400 when the request makes no sense, and a 429 when the tenant
 * has no room for another live timer.
 */
export async function createTimer(
  context: ApiContext,
  tenantId: string,
  request: TimerRequest,
  origin: ChangeOrigin,
  client?: Transaction,
): Promise<Answer> {
  const prepared = prepareTimer(context, tenantId, request, readAnchorAt(context), origin);
  if (prepared.faults) throw createInvalidRequest(prepared.faults);
  const { timer, isSkipped } = prepared;
  const database = client ?? asTenant(context.database, tenantId).hot;
  if (!isSkipped && context.liveTimers.isBounded(tenantId)) {
    const refusal = await context.liveTimers.take(tenantId, 1, client);
    // What exists is shown all the same.
    const existing = refusal && timer.externalId !== null && (await readExisting(context, timer, database));
    if (existing) return { status: 200, body: existing };
    if (refusal) throw refusal;
  }
  for (let offer = 0; offer < OFFERS_MAX; offer += 1) {
    if (await store(context, timer, isSkipped, client)) {
      const answer = createNewTimerAnswer(timer);
      return isSkipped ? { ...answer, body: await readTimerText(context, tenantId, timer.id, client) } : answer;
    }
    const existing = await readExisting(context, timer, database);
    if (existing !== undefined) {
      if (!isSkipped) context.liveTimers.give(tenantId, 1);
      return { status: 200, body: existing };
    }
  }
  throw new ProblemError(409, 'external_id_taken', 'Another request is using this external id at this moment.');
}

/** The answer to whoever asked for a timer that is stored and has not ended. */
export function createNewTimerAnswer(timer: NewTimer): Answer {
  return { status: 201, body: renderNewTimer(timer), headers: { location: `/v1/timers/${timer.id}` } };
}

/** Whether the timer was stored; false when its external id is taken. */
async function store(
  context: ApiContext,
  timer: RequestedTimer,
  isSkipped: boolean,
  client?: Transaction,
): Promise<boolean> {
  // One that names itself may have to wait for another of its tenant that took the same name.
  const batcher = timer.externalId === null ? context.timerBatcher : context.namedTimerBatcher;
  if (!client && !isSkipped) return batcher.write(timer);
  const plan = isSkipped ? { due: [], skipped: [timer] } : { due: [timer], skipped: [] };
  const stored = client
    ? await storeTimersWithin(client, plan)
    : await storeTimers(asTenant(context.database, timer.tenantId).hot, plan);
  return stored.has(timer.id);
}

/** The timer that has the external id, as JSON text. When it is gone for good the id is given free. */
async function readExisting(context: ApiContext, timer: NewTimer, database: Queryable): Promise<string | undefined> {
  const { tenantId } = timer;
  const externalId = timer.externalId!;
  const id = (await findTimersByExternalId(database, tenantId, [externalId])).get(externalId);
  if (id === undefined) return undefined;
  const record = (await readTimers(database, tenantId, [id])).get(id);
  if (record) return renderRecord(context, record, database);
  await releaseTimerExternalId(database, tenantId, externalId, id);
  return undefined;
}

/** New timers, by what becomes of them. */
export interface StorePlan {
  due: readonly RequestedTimer[];
  skipped: readonly RequestedTimer[];
}

/** Stores a tenant's new timers in one transaction. Returns the ids of those that were; the others' external ids are taken. */
export async function storeTimers(pool: TransactionPool, plan: StorePlan): Promise<Set<string>> {
  const isPlain = plan.skipped.length === 0 && plan.due.every((timer) => timer.externalId === null);
  if (!isPlain) return inTransaction(pool, (client) => storeTimersWithin(client, plan));
  await createRequestedTimers(pool, plan.due);
  return new Set(plan.due.map((timer) => timer.id));
}

/** The same, in a transaction that is under way. */
export async function storeTimersWithin(client: Transaction, plan: StorePlan): Promise<Set<string>> {
  const all = [...plan.due, ...plan.skipped];
  const claims = all.flatMap(({ id, externalId }) => (externalId === null ? [] : [{ externalId, timerId: id }]));
  // All of a plan belong to one tenant: that of the request.
  const claimed = claims.length === 0 ? new Set() : await claimTimerExternalIds(client, all[0]!.tenantId, claims);
  const isFree = (timer: NewTimer) => timer.externalId === null || claimed.has(timer.id);
  const due = plan.due.filter(isFree);
  const skipped = plan.skipped.filter(isFree);
  if (skipped.length === 0) {
    await createRequestedTimers(client, due);
  } else {
    await createTimers(client, due);
    await createSkippedTimers(client, skipped);
    const changes = [...due, ...skipped].map(({ id, tenantId, origin }) => ({ targetId: id, tenantId, origin }));
    await recordTraces(client, changes);
    await recordChanges(client, changes);
  }
  return new Set(all.filter(isFree).map((timer) => timer.id));
}
