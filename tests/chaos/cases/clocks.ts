import type { ChaosCase } from '../chaos-case.ts';

const HOUR_MS = 3_600_000;

/** The hosts' clocks are wrong by an hour, each in another direction; the database's is what counts. */
export const clocks: readonly ChaosCase[] = [1, -1].map(
  (sign): ChaosCase => ({
    name: `clock:${sign > 0 ? 'ahead' : 'behind'}`,
    summary: `the api's and the worker's clocks are an hour ${sign > 0 ? 'ahead' : 'behind'}, the scheduler's the other way`,
    tweaks: () => ({
      api: { clockOffsetMs: sign * HOUR_MS },
      scheduler: { clockOffsetMs: -sign * HOUR_MS },
      worker: { clockOffsetMs: sign * HOUR_MS },
    }),
    allowsRepeats: false,
    fault: ({ choose, last }) => last(choose(20_000, 3_000)),
  }),
);
