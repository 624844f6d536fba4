import {
  addErasure,
  asTenant,
  type ChangeOrigin,
  readTimers,
  recordChanges,
  removeEndedTimer,
  type Transaction,
} from '@punctual/database';
import type { ApiContext } from '../context.ts';
import { ProblemError } from '../problem.ts';
import { withTransaction } from '../transaction.ts';
import { createRestless, ROUNDS_MAX } from './item-results.ts';
import { createTimerNotFound } from './read-timers.ts';

const ENDED: ReadonlySet<string> = new Set(['succeeded', 'dead', 'cancelled', 'skipped']);

/**
 * Erases a timer that has ended and belongs to no run, with all that it left; the audit log alone keeps its id. Throws
 * ProblemError: 404, 409 while it is live, or when it is a task of a run, which is erased as a whole.
 */
export async function eraseTimer(
  context: ApiContext,
  client: Transaction | undefined,
  tenantId: string,
  id: string,
  origin: ChangeOrigin,
): Promise<void> {
  await withTransaction(asTenant(context.database, tenantId).ordinary, client, async (transaction) => {
    for (let round = 0; round < ROUNDS_MAX; round += 1) {
      const timer = (await readTimers(transaction, tenantId, [id])).get(id);
      if (!timer) throw createTimerNotFound();
      if (timer.runId !== null) {
        throw new ProblemError(409, 'timer_of_run', 'The timer is a task of a run: erase the run as a whole.');
      }
      if (!ENDED.has(timer.state)) {
        throw new ProblemError(409, 'timer_not_finished', `The timer is ${timer.state}: cancel it first.`);
      }
      // Else somebody redrove, dismissed or erased it just now.
      if (await removeEndedTimer(transaction, tenantId, timer)) {
        await addErasure(transaction, tenantId, id);
        await recordChanges(transaction, [{ targetId: id, tenantId, origin }]);
        return;
      }
    }
    throw createRestless();
  });
}
