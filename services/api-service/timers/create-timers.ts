import { TimerRequest } from '@punctual/contracts';
import {
  asTenant,
  type ChangeOrigin,
  findTimersByExternalId,
  type NewTimer,
  type RequestedTimer,
  readTimers,
  type Transaction,
} from '@punctual/database';
import type { Fault } from '@punctual/domain';
import { type ApiContext, readAnchorAt } from '../context.ts';
import { classifyDatabaseError } from '../database-faults.ts';
import { createInvalidRequest, toProblem } from '../plugins/problems.ts';
import { compileCheck } from '../plugins/validation.ts';
import { createTimer, type StorePlan, storeTimers, storeTimersWithin } from './create-timer.ts';
import { type ItemResult, showAmong } from './item-results.ts';
import { type PreparedTimer, prepareTimer } from './prepare-timer.ts';
import { renderNewTimer } from './render-timer.ts';

const checkRequest = compileCheck(TimerRequest);

/**
 * Stores the timers of a batch, all that make sense in one statement, and answers for each: 201, 200 when its external id
 * stands for one that exists, or 400. Pointers go into the body of the batch. Throws a 429 when the tenant has no room for
 * all that make sense.
 */
export async function createBatch(
  context: ApiContext,
  tenantId: string,
  items: readonly unknown[],
  origin: ChangeOrigin,
  client?: Transaction,
): Promise<ItemResult[]> {
  const anchorAt = readAnchorAt(context);
  const plan: { due: RequestedTimer[]; skipped: RequestedTimer[] } = { due: [], skipped: [] };
  const requests = new Map<RequestedTimer, TimerRequest>();
  const prepared = items.map((item): PreparedTimer => {
    const fault = checkRequest(item);
    if (fault) return { faults: [fault] };
    const one = prepareTimer(context, tenantId, item as TimerRequest, anchorAt, origin);
    if (one.faults) return one;
    (one.isSkipped ? plan.skipped : plan.due).push(one.timer);
    requests.set(one.timer, item as TimerRequest);
    return one;
  });
  const results = await store(context, tenantId, plan, requests, client);
  return prepared.map((one, index) => (one.faults ? refuse(one.faults, index) : results.get(one.timer)!));
}

function refuse(faults: readonly Fault[], index: number): ItemResult {
  const inBody = faults.map((fault) => ({ ...fault, pointer: `/timers/${index}${fault.pointer}` }));
  return { error: createInvalidRequest(inBody) };
}

/** Stores a plan. The results are complete: one for each of its timers. */
async function store(
  context: ApiContext,
  tenantId: string,
  plan: StorePlan,
  requests: ReadonlyMap<RequestedTimer, TimerRequest>,
  client: Transaction | undefined,
): Promise<Map<NewTimer, ItemResult>> {
  const results = new Map<NewTimer, ItemResult>();
  if (requests.size === 0) return results;
  const refusal = await context.liveTimers.take(tenantId, plan.due.length, client);
  if (refusal) throw refusal;
  let stored: Set<string>;
  try {
    stored = client
      ? await storeTimersWithin(client, plan)
      : await storeTimers(asTenant(context.database, tenantId).hot, plan);
  } catch (error) {
    if (client || classifyDatabaseError(error) !== 'data') throw error;
    // One row that Postgres refuses, though it passed all checks, must not spoil the others.
    stored = new Set();
  }
  const skipped: NewTimer[] = [];
  const due = plan.due.filter(({ id }) => stored.has(id));
  // What was not stored is there already, or is let in again by itself.
  context.liveTimers.give(tenantId, plan.due.length - due.length);
  for (const timer of due) results.set(timer, { status: 201, timer: renderNewTimer(timer) });
  for (const timer of plan.skipped) if (stored.has(timer.id)) skipped.push(timer);
  const taken = [...requests.keys()].filter((timer) => !stored.has(timer.id));
  await showStored(context, tenantId, skipped, taken, results, client);
  for (const timer of taken) {
    if (results.has(timer)) continue;
    results.set(timer, await createAlone(context, tenantId, requests.get(timer)!, timer.origin, client));
  }
  return results;
}

/** Adds the answers for what must be read back: timers that ended at once, and those that external ids stand for. */
async function showStored(
  context: ApiContext,
  tenantId: string,
  skipped: readonly NewTimer[],
  taken: readonly NewTimer[],
  results: Map<NewTimer, ItemResult>,
  client: Transaction | undefined,
): Promise<void> {
  if (skipped.length + taken.length === 0) return;
  const database = client ?? asTenant(context.database, tenantId).hot;
  const externalIds = taken.flatMap(({ externalId }) => (externalId === null ? [] : [externalId]));
  const existing = await findTimersByExternalId(database, tenantId, externalIds);
  const ids = [...new Set([...skipped.map((timer) => timer.id), ...existing.values()])];
  const records = await readTimers(database, tenantId, ids);
  const show = async (timer: NewTimer, status: number, id: string) => {
    const record = records.get(id);
    if (record) results.set(timer, await showAmong(ids.length, context, record, database, status));
  };
  for (const timer of skipped) await show(timer, 201, timer.id);
  for (const timer of taken) await show(timer, 200, existing.get(timer.externalId ?? '') ?? '');
}

/** One timer by itself: what was refused with the batch, or whose external id stands for one that is gone for good. */
async function createAlone(
  context: ApiContext,
  tenantId: string,
  request: TimerRequest,
  origin: ChangeOrigin,
  client: Transaction | undefined,
): Promise<ItemResult> {
  try {
    const { status, body } = await createTimer(context, tenantId, request, origin, client);
    return { status, timer: body as string };
  } catch (error) {
    // Within a transaction nothing else can be done after a failed statement.
    if (client) throw error;
    const problem = toProblem(error);
    if (problem.code === 'internal_error')
      context.logger.error({ err: error }, 'a timer of a batch could not be stored');
    return { error: problem };
  }
}
