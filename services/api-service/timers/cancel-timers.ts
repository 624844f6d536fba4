import {
  advanceRuns,
  asTenant,
  type CancelRequest,
  cancelLoneTimers,
  cancelTimers,
  endRunTimers,
  lockRuns,
  readRunIdsOfTimers,
  readTimers,
  type Transaction,
} from '@punctual/database';
import type { ApiContext } from '../context.ts';
import { createRestless, findObstacle, type ItemResult, ROUNDS_MAX, showAmong } from './item-results.ts';
import { createTimerNotFound } from './read-timers.ts';

/**
 * Cancels timers, each by itself: 200 when it is cancelled, now or before; 409 when an attempt has started or it has ended
 * otherwise. A cancelled task of a run ends that branch of the run, in the same transaction. With a `client` everything
 * happens in its transaction. Of a timer that is named twice the first request counts.
 */
export async function cancelEach(
  context: ApiContext,
  tenantId: string,
  requests: readonly CancelRequest[],
  client?: Transaction,
): Promise<ItemResult[]> {
  const database = client ?? asTenant(context.database, tenantId).hot;
  const results = new Map<string, ItemResult>();
  const requestById = new Map(requests.toReversed().map((request) => [request.id, request]));
  let pending = [...requestById.keys()];
  // In a transaction of several rounds: all runs before the first timer.
  if (client) await lockRuns(client, await readRunIdsOfTimers(client, tenantId, pending));
  // A timer that ran, and by the end of the round waits for its retry, can be cancelled after all.
  for (let round = 0; round < ROUNDS_MAX && pending.length > 0; round += 1) {
    const waiting = pending.map((id) => requestById.get(id)!);
    for (const record of await cancelLoneTimers(database, tenantId, waiting)) {
      results.set(record.id, await showAmong(requests.length, context, record, database));
    }
    pending = pending.filter((id) => !results.has(id));
    if (pending.length === 0) break;
    const left = waiting.filter(({ id }) => !results.has(id));
    await cancelTasks(context, tenantId, left, client);
    const records = await readTimers(database, tenantId, pending);
    for (const id of pending) {
      const record = records.get(id);
      if (!record) {
        results.set(id, { error: createTimerNotFound() });
      } else if (record.state === 'cancelled') {
        results.set(id, await showAmong(requests.length, context, record, database));
      } else {
        const obstacle = findObstacle(record);
        if (obstacle) results.set(id, { error: obstacle });
      }
    }
    pending = pending.filter((id) => !results.has(id));
  }
  return requests.map(({ id }) => results.get(id) ?? { error: createRestless() });
}

/** Cancels tasks of runs that wait. Runs are locked before their timers. */
async function cancelTasks(
  context: ApiContext,
  tenantId: string,
  requests: readonly CancelRequest[],
  client: Transaction | undefined,
): Promise<void> {
  const { hot } = asTenant(context.database, tenantId);
  const end = async (transaction: Transaction) => {
    const cancelled = await cancelTimers(transaction, tenantId, requests);
    return cancelled.map((timer) => ({ ...timer, state: 'cancelled' as const }));
  };
  const ids = requests.map(({ id }) => id);
  const runIds = await readRunIdsOfTimers(client ?? hot, tenantId, ids);
  if (runIds.length === 0) return;
  if (client) {
    const runs = await lockRuns(client, runIds);
    await advanceRuns(client, context.workflowVersions, runs, await end(client));
  } else {
    await endRunTimers(hot, context.workflowVersions, runIds, end);
  }
}
