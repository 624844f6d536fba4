import {
  asTenant,
  type ChangeOrigin,
  inTransaction,
  type Redriven,
  readTimers,
  recordChanges,
  redriveDeadLetters,
  type Transaction,
} from '@punctual/database';
import type { ApiContext } from '../context.ts';
import { ProblemError } from '../problem.ts';
import { type ItemResult, showAmong } from '../timers/item-results.ts';
import { createTimerNotFound } from '../timers/read-timers.ts';

/**
 * Makes dead letters live timers again, due now, with all their attempts before them; runs that failed by them go on.
 * 200 for each that was; 404 or 409 for the others. All in one transaction, that of `client` if there is one. Throws a 429
 * when the tenant has no room for so many live timers.
 */
export async function redriveEach(
  context: ApiContext,
  tenantId: string,
  ids: readonly string[],
  origin: ChangeOrigin,
  client?: Transaction,
): Promise<ItemResult[]> {
  const work = async (transaction: Transaction) => {
    const redriven = await redriveWithin(context, transaction, tenantId, ids);
    await recordChanges(
      transaction,
      [...redriven.all].map((targetId) => ({ targetId, tenantId, origin })),
    );
    return showRedriven(context, transaction, tenantId, ids, redriven);
  };
  return client ? work(client) : inTransaction(asTenant(context.database, tenantId).hot, work);
}

/** The same within a transaction that does more, and tells the audit log of it by itself. */
export function redriveWithin(
  context: ApiContext,
  client: Transaction,
  tenantId: string,
  ids: readonly string[],
): Promise<Redriven> {
  return redriveDeadLetters(client, context.workflowVersions, tenantId, ids, async (count) => {
    const refusal = await context.liveTimers.take(tenantId, count, client);
    if (refusal) throw refusal;
    return count;
  });
}

async function showRedriven(
  context: ApiContext,
  client: Transaction,
  tenantId: string,
  ids: readonly string[],
  redriven: Redriven,
): Promise<ItemResult[]> {
  const records = await readTimers(client, tenantId, ids);
  const results: ItemResult[] = [];
  for (const id of ids) {
    const record = records.get(id);
    if (!record) results.push({ error: createTimerNotFound() });
    else if (redriven.all.has(id)) results.push(await showAmong(ids.length, context, record, client));
    else results.push({ error: redriven.refused.has(id) ? createRunCancelled() : createNotDead() });
  }
  return results;
}

function createNotDead(): ProblemError {
  return new ProblemError(409, 'not_a_dead_letter', 'The timer is no dead letter, or not any more.');
}

function createRunCancelled(): ProblemError {
  return new ProblemError(409, 'run_cancelled', 'The run of the timer was cancelled; it begins nothing more.');
}
