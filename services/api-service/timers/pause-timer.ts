import {
  asTenant,
  type ChangeOrigin,
  type DueTimes,
  lockRuns,
  pauseTimers,
  readGate,
  readParkedFor,
  readRunIdsOfTimers,
  readTimers,
  recordChanges,
  releaseTimers,
  resumeTimers,
  type TimerRecord,
  type Transaction,
} from '@punctual/database';
import type { ApiContext } from '../context.ts';
import { ProblemError } from '../problem.ts';
import { withTransaction } from '../transaction.ts';
import { createRestless, findObstacle, type ItemResult, ROUNDS_MAX } from './item-results.ts';
import { createTimerNotFound, renderRecord } from './read-timers.ts';

/** Pauses a timer that waits: 200, again when it is paused, or 409 when an attempt has started or it has ended. */
export function pauseTimer(
  context: ApiContext,
  tenantId: string,
  id: string,
  origin: ChangeOrigin,
  client?: Transaction,
): Promise<ItemResult> {
  return withTransaction(asTenant(context.database, tenantId).hot, client, async (transaction) => {
    // A pause of its run comes before or after this one, not between.
    await lockRuns(transaction, await readRunIdsOfTimers(transaction, tenantId, [id]));
    return change(context, transaction, tenantId, id, 'paused', () =>
      pauseTimers(transaction, tenantId, [{ id, origin }]),
    );
  });
}

/**
 * Lets a paused timer wait again: 200, again when it waits, or 409 when an attempt has started, it has ended, or its run,
 * workflow, queue or origin is paused.
 */
export function resumeTimer(
  context: ApiContext,
  tenantId: string,
  id: string,
  dueTimes: DueTimes,
  origin: ChangeOrigin,
  client?: Transaction,
): Promise<ItemResult> {
  return withTransaction(asTenant(context.database, tenantId).hot, client, async (transaction) => {
    const runs = await lockRuns(transaction, await readRunIdsOfTimers(transaction, tenantId, [id]));
    if (runs.some(({ status }) => status === 'paused')) return { error: createHeld('Its run is paused.') };
    const manner = { dueTimes, paceMs: 0 };
    return change(context, transaction, tenantId, id, 'scheduled', async () => {
      const resumed = await resumeTimers(transaction, tenantId, [{ id, origin }], manner);
      if (resumed.length > 0) return resumed;
      const parkedFor = await readParkedFor(transaction, tenantId, id);
      if (parkedFor === undefined) return [];
      const [kind, name] = cutAtColon(parkedFor);
      const gate = await readGate(transaction, { tenantId, kind: kind as 'workflow', name });
      if (gate?.pausedAt != null) throw createHeld(`Its ${kind} is paused.`);
      // A release that is under way, or that was aborted, has left it.
      await releaseTimers(transaction, tenantId, [id], parkedFor, manner);
      await recordChanges(transaction, [{ targetId: id, tenantId, origin }]);
      return [...(await readTimers(transaction, tenantId, [id])).values()];
    });
  });
}

async function change(
  context: ApiContext,
  client: Transaction,
  tenantId: string,
  id: string,
  wanted: TimerRecord['state'],
  write: () => Promise<TimerRecord[]>,
): Promise<ItemResult> {
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    const [changed] = await write();
    if (changed) return { status: 200, timer: await renderRecord(context, changed, client) };
    const record = (await readTimers(client, tenantId, [id])).get(id);
    if (!record) return { error: createTimerNotFound() };
    if (record.state === wanted) return { status: 200, timer: await renderRecord(context, record, client) };
    const obstacle = findObstacle(record);
    if (obstacle) return { error: obstacle };
  }
  return { error: createRestless() };
}

function cutAtColon(text: string): [string, string] {
  const colon = text.indexOf(':');
  return [text.slice(0, colon), text.slice(colon + 1)];
}

function createHeld(detail: string): ProblemError {
  return new ProblemError(409, 'timer_held', `${detail} Resume that.`);
}
