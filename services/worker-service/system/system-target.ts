import type { TimerVersion } from '@punctual/database';
import type { SystemAction } from '@punctual/domain';
import type { BulkWorker } from './bulk-operation.ts';
import type { ScheduleWorker } from './schedule.ts';

/** What a turn of long work came to: nothing is left for its timer, or it wants another turn. */
export type LongTurn = 'done' | { againInMs: number };
/** The same of any system timer, which its turn may have moved itself. */
export type SystemTurn = LongTurn | 'moved';

/** Does what timers of the system are for, a turn at a time. */
export interface SystemTarget {
  /** Rejects when the turn could not be made; then it is tried again. */
  perform(action: SystemAction, timer: TimerVersion): Promise<SystemTurn>;
}

/**
 * Turns of one worker at once. Each has a connection of its own to Postgres for as long as it takes, beside those with which
 * attempts start and end: with as many turns as there are operations, nothing else would get one.
 */
export const SYSTEM_TURNS_MAX = 2;
/** Until a turn is asked for again that there was no room for (ms), as a mean: what came together does not come back together. */
const FULL_PAUSE_MS = 1_000;

/**
 * Work that is done by timers of the system, by its kind. Of the turns of bulk operations, which take long, few are made at once,
 * and the others come again a little later: who had one while others were sent away comes again no sooner than these.
 */
export function createSystemTarget({
  bulk,
  schedules,
}: {
  bulk: Pick<BulkWorker, 'run'>;
  schedules: Pick<ScheduleWorker, 'run'>;
}): SystemTarget {
  let turns = 0;
  let sentAway = 0;
  const choosePauseMs = () => Math.round(FULL_PAUSE_MS * (0.5 + Math.random()));
  const runBulk = async (id: string): Promise<LongTurn> => {
    if (turns >= SYSTEM_TURNS_MAX) {
      sentAway += 1;
      return { againInMs: choosePauseMs() };
    }
    turns += 1;
    const sentAwayBefore = sentAway;
    try {
      const turn = await bulk.run(id);
      if (turn === 'done' || sentAway === sentAwayBefore) return turn;
      return { againInMs: Math.max(turn.againInMs, choosePauseMs()) };
    } finally {
      turns -= 1;
    }
  };
  return {
    perform({ task, id, tenantId }, timer) {
      switch (task) {
        case 'bulk-operation':
          return runBulk(id);
        case 'schedule':
          return schedules.run(id, timer, tenantId);
      }
    },
  };
}
