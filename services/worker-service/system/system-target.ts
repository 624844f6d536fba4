import type { SystemAction } from '@punctual/domain';
import type { BulkWorker } from './bulk-operation.ts';

/** What a turn of a system timer came to: nothing is left for it, or it wants another turn. */
export type SystemTurn = 'done' | { againInMs: number };

/** Does what timers of the system are for, a turn at a time. */
export interface SystemTarget {
  /** Rejects when the turn could not be made; then it is tried again. */
  perform(action: SystemAction): Promise<SystemTurn>;
}

/**
 * Turns of one worker at once. Each has a connection of its own to Postgres for as long as it takes, beside those with which
 * attempts start and end: with as many turns as there are operations, nothing else would get one.
 */
export const SYSTEM_TURNS_MAX = 2;
/** Until a turn is asked for again that there was no room for (ms), as a mean: what came together does not come back together. */
const FULL_PAUSE_MS = 1_000;

/**
 * Long work that is done by timers of the system, by its kind: few turns at once, the others come again a little later. Who had
 * one while others were sent away comes again no sooner than these.
 */
export function createSystemTarget({ bulk }: { bulk: Pick<BulkWorker, 'run'> }): SystemTarget {
  let turns = 0;
  let sentAway = 0;
  const choosePauseMs = () => Math.round(FULL_PAUSE_MS * (0.5 + Math.random()));
  const run = ({ task, id }: SystemAction) => {
    switch (task) {
      case 'bulk-operation':
        return bulk.run(id);
    }
  };
  return {
    async perform(action) {
      if (turns >= SYSTEM_TURNS_MAX) {
        sentAway += 1;
        return { againInMs: choosePauseMs() };
      }
      turns += 1;
      const sentAwayBefore = sentAway;
      try {
        const turn = await run(action);
        if (turn === 'done' || sentAway === sentAwayBefore) return turn;
        return { againInMs: Math.max(turn.againInMs, choosePauseMs()) };
      } finally {
        turns -= 1;
      }
    },
  };
}
