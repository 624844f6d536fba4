import { TimerRequest } from '@punctual/contracts';
import { findTimersByExternalId, type NewTimer, readTimers, type Transaction } from '@punctual/database';
import type { Fault } from '@punctual/domain';
import { type ApiContext, readAnchorAt } from '../context.ts';
import { classifyDatabaseError } from '../database-faults.ts';
import { createInvalidRequest, toProblem } from '../plugins/problems.ts';
import { compileCheck } from '../plugins/validation.ts';
import { createTimer, type StorePlan, storeTimers, storeTimersWithin } from './create-timer.ts';
import type { ItemResult } from './item-results.ts';
import { prepareTimer } from './prepare-timer.ts';
import { renderRecord } from './read-timers.ts';
import { renderNewTimer } from './render-timer.ts';

const checkRequest = compileCheck(TimerRequest);

/**
 * Stores the timers of a batch, all that make sense in one statement, and answers for each: 201, 200 when its external id
 * stands for one that exists, or 400. Pointers go into the body of the batch.
 */
export async function createBatch(
  context: ApiContext,
  tenantId: string,
  items: readonly unknown[],
  client?: Transaction,
): Promise<ItemResult[]> {
  const anchorAt = readAnchorAt(context);
  const plan: { due: NewTimer[]; skipped: NewTimer[] } = { due: [], skipped: [] };
  const timers: (NewTimer | readonly Fault[])[] = items.map((item) => {
    const fault = checkRequest(item);
    if (fault) return [fault];
    const prepared = prepareTimer(context, tenantId, item as TimerRequest, anchorAt);
    if (prepared.faults) return prepared.faults;
    (prepared.isSkipped ? plan.skipped : plan.due).push(prepared.timer);
    return prepared.timer;
  });
  const results = await store(context, tenantId, plan, items, timers, client);
  return timers.map((timer, index) => (Array.isArray(timer) ? refuse(timer, index) : results.get(timer as NewTimer)!));
}

function refuse(faults: readonly Fault[], index: number): ItemResult {
  const inBody = faults.map((fault) => ({ ...fault, pointer: `/timers/${index}${fault.pointer}` }));
  return { error: createInvalidRequest(inBody) };
}

async function store(
  context: ApiContext,
  tenantId: string,
  plan: StorePlan,
  items: readonly unknown[],
  timers: readonly (NewTimer | readonly Fault[])[],
  client: Transaction | undefined,
): Promise<Map<NewTimer, ItemResult>> {
  const results = new Map<NewTimer, ItemResult>();
  if (plan.due.length + plan.skipped.length === 0) return results;
  let stored: Set<string>;
  try {
    stored = client ? await storeTimersWithin(client, plan) : await storeTimers(context.database, plan);
  } catch (error) {
    if (client || classifyDatabaseError(error) !== 'data') throw error;
    // One row that Postgres refuses, though it passed all checks, must not spoil the others.
    return storeEach(context, tenantId, items, timers);
  }
  const rest: NewTimer[] = [];
  for (const timer of plan.due) {
    if (stored.has(timer.id)) results.set(timer, { status: 201, timer: renderNewTimer(timer) });
    else rest.push(timer);
  }
  const skipped = plan.skipped.filter((timer) => stored.has(timer.id));
  rest.push(...plan.skipped.filter((timer) => !stored.has(timer.id)));
  await showStored(context, tenantId, skipped, rest, results, client);
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
  const database = client ?? context.database.hot;
  const externalIds = taken.map((timer) => timer.externalId!);
  const existing = await findTimersByExternalId(database, tenantId, externalIds);
  const ids = [...new Set([...skipped.map((timer) => timer.id), ...existing.values()])];
  const records = await readTimers(database, tenantId, ids);
  for (const timer of skipped) {
    results.set(timer, { status: 201, timer: await renderRecord(context, records.get(timer.id)!, database) });
  }
  for (const timer of taken) {
    const record = records.get(existing.get(timer.externalId!) ?? '');
    results.set(
      timer,
      record
        ? { status: 200, timer: await renderRecord(context, record, database) }
        : { error: toProblem(new Error('the timer of an external id is gone')) },
    );
  }
}

async function storeEach(
  context: ApiContext,
  tenantId: string,
  items: readonly unknown[],
  timers: readonly (NewTimer | readonly Fault[])[],
): Promise<Map<NewTimer, ItemResult>> {
  const results = new Map<NewTimer, ItemResult>();
  for (const [index, timer] of timers.entries()) {
    if (Array.isArray(timer)) continue;
    const result = await createTimer(context, tenantId, items[index] as TimerRequest).then(
      ({ status, body }): ItemResult => ({ status, timer: body as string }),
      (error: unknown): ItemResult => ({ error: toProblem(error) }),
    );
    results.set(timer as NewTimer, result);
  }
  return results;
}
