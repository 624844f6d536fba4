import type { ChaosCase } from '../chaos-case.ts';

/** Edits and cancels, in all, and how many a second. */
const RACES = 100_000;
const RACES_SHORT = 1_000;
const RACES_PER_SECOND = 400;

/** Edits and cancels at about the moment at which their timer is due. */
export const races: readonly ChaosCase[] = [
  {
    name: 'race:edits-and-cancels',
    summary: `${RACES.toLocaleString('en')} edits and cancels within 50 ms of the due time`,
    allowsRepeats: false,
    traffic: {
      rate: RACES_PER_SECOND,
      delayMs: { min: 500, max: 1_500 },
      shares: { editRace: 0.5, cancelRace: 0.5 },
      raceMs: 50,
    },
    async fault({ traffic, choose, last, log }) {
      const races = choose(RACES, RACES_SHORT);
      for (let told = 0; traffic.book.timers.length < races; ) {
        await last(200);
        const count = traffic.book.timers.length;
        if (count - told >= 10_000) {
          told = count;
          log(`  ${count.toLocaleString('en')} of ${races.toLocaleString('en')} timers raced`);
        }
      }
    },
  },
];
