import type { Occurrences } from './occurrences.ts';
import type { MissedPolicy } from './schedule-rule.ts';

/** Later than this (ms) after its due time an occurrence was missed: a restart, or a worker that was lost, takes less. */
export const MISSED_AFTER_MS = 60_000;
/** Occurrences that wait for the run before them to end. */
export const OCCURRENCES_WAITING_MAX = 100;
/** Occurrences that are taken at once; more are taken in the next turn. */
export const OCCURRENCES_PER_TURN_MAX = 20;

/** How far a schedule has come. Instants in epoch ms. */
export interface ScheduleProgress {
  /** All occurrences up to here are begun, wait or were skipped. */
  handledAt: number;
  /** Occurrences that are to begin, in order. */
  waiting: readonly number[];
}

/**
 * Takes what has come due by `now`: all that is on time, and of what was missed what the policy says. What is left for want of
 * room stays due.
 */
export function takeDue(
  occurrences: Occurrences,
  { handledAt, waiting }: ScheduleProgress,
  missed: MissedPolicy,
  now: number,
): ScheduleProgress {
  const room = Math.min(OCCURRENCES_WAITING_MAX - waiting.length, OCCURRENCES_PER_TURN_MAX);
  const windowMs = missed.policy === 'all' ? Math.max(missed.windowMs, MISSED_AFTER_MS) : MISSED_AFTER_MS;
  const lastMissed = occurrences.last(handledAt, now - windowMs - 1);
  let reached = lastMissed?.at ?? handledAt;
  const taken: number[] = [];
  for (let next = occurrences.next(reached); next && next.dueAt <= now; next = occurrences.next(reached)) {
    // Whoever finds no room waits for it here, and is missed in the end.
    if (taken.length >= room) return { handledAt: reached, waiting: [...waiting, ...taken] };
    taken.push(next.at);
    reached = next.at;
  }
  // One that is on time stands in for those before it.
  if (missed.policy === 'last' && lastMissed && taken.length === 0 && room > 0) taken.push(lastMissed.at);
  return { handledAt: reached, waiting: [...waiting, ...taken] };
}
