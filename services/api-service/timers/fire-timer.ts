import { asTenant, type ChangeOrigin, fireTimer, readTimers, type Transaction } from '@punctual/database';
import type { ApiContext } from '../context.ts';
import { createRestless, findObstacle, type ItemResult, ROUNDS_MAX } from './item-results.ts';
import { createTimerNotFound, renderRecord } from './read-timers.ts';

/** Makes a timer due now: 200, or 409 when an attempt has started or it has ended. */
export async function fireNow(
  context: ApiContext,
  tenantId: string,
  id: string,
  origin: ChangeOrigin,
  client?: Transaction,
): Promise<ItemResult> {
  const database = client ?? asTenant(context.database, tenantId).hot;
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    const fired = await fireTimer(database, tenantId, id, origin);
    if (fired) return { status: 200, timer: await renderRecord(context, fired, database) };
    const record = (await readTimers(database, tenantId, [id])).get(id);
    if (!record) return { error: createTimerNotFound() };
    const obstacle = findObstacle(record);
    if (obstacle) return { error: obstacle };
  }
  return { error: createRestless() };
}
