import {
  asTenant,
  type LanedPull,
  type LeasedTimer,
  type LeaseSlot,
  leaseLanedTimers,
  listTimerLanes,
  readLanesOfTimers,
  readLimits,
  startInLanes,
  type TransactionPool,
  wakeLanes,
} from '@punctual/database';
import type { ApiContext } from '../context.ts';

/** Leases, of a tenant's due tasks that need places in lanes, those for which there are; the others wait until they are woken. */
export async function leaseInLanes(
  pool: TransactionPool,
  tenantId: string,
  pulls: readonly LanedPull[],
  slots: readonly LeaseSlot[],
): Promise<LeasedTimer[]> {
  const slotById = new Map(pulls.map(({ id, slot }) => [id, slot]));
  const limits = await readLimits(pool, [tenantId]);
  const timers = pulls.map((pull) => ({ ...pull, lanes: listTimerLanes(pull, limits) }));
  return startInLanes(pool, timers, (client, chosen) =>
    leaseLanedTimers(
      client,
      tenantId,
      chosen.map(({ id, version }) => {
        const slot = slotById.get(id)!;
        return { id, version, slot, ...slots[slot]! };
      }),
    ),
  );
}

/**
 * Wakes those who wait for the places that these tasks had, after their outcomes are committed. Does not wait for it: a scheduler
 * looks at such lanes, too.
 */
export function wakeAfterEnds(
  { database, logger }: Pick<ApiContext, 'database' | 'logger'>,
  tenantId: string,
  timerIds: readonly string[],
): void {
  const { hot } = asTenant(database, tenantId);
  readLanesOfTimers(hot, timerIds)
    .then((lanes) => (lanes.length > 0 ? wakeLanes(hot, lanes) : undefined))
    .catch((error: unknown) => {
      logger.debug({ err: error }, 'timers that wait for a place could not be woken; a scheduler will');
    });
}
