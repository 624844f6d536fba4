import type { ChaosCase } from '../chaos-case.ts';

/** Nothing happens: what every other case is compared with. */
export const none: readonly ChaosCase[] = [
  {
    name: 'none',
    summary: 'no fault at all: no repeat is allowed',
    isCalm: true,
    allowsRepeats: false,
    fault: ({ choose, last }) => last(choose(30_000, 3_000)),
  },
];
