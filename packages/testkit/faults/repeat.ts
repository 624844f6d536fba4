import { setTimeout as sleep } from 'node:timers/promises';
import { areFaultsInjected } from './settings.ts';

/** At the highest rate of faults one in a million calls would need more. */
const REPEATS_MAX = 20;
const PAUSE_MS = 20;

/**
 * For what a service's loop would do again: while faults are injected, `work` that fails is done again. Without them its
 * first failure counts.
 */
export async function repeatUnderFaults<T>(work: () => Promise<T>): Promise<T> {
  for (let repeats = 0; ; repeats += 1) {
    try {
      return await work();
    } catch (error) {
      if (!areFaultsInjected || repeats >= REPEATS_MAX) throw error;
      await sleep(PAUSE_MS);
    }
  }
}
