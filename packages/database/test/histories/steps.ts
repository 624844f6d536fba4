import fc from 'fast-check';

/**
 * One step of a history. A `pick` is a number that chooses among whatever there is to choose from; a step for which there is
 * nothing does nothing, so that any part of a history is a history, and one that fails can be made shorter. What is to
 * `hold` stays uncommitted until an `end`.
 */
export type Step =
  | { do: 'create'; dueInMs: number; maxRetries: number; isNamed: boolean; hold: boolean }
  | { do: 'edit'; pick: number; versionsBack: number; isBlind: boolean; dueInMs: number | undefined; hold: boolean }
  | { do: 'cancel'; picks: number[]; isLone: boolean; hold: boolean }
  | { do: 'fire' | 'pause' | 'resume'; pick: number; hold: boolean }
  | { do: 'read'; isSweep: boolean; lookAheadMs: number; cursorPick: number | undefined }
  | { do: 'lose'; pick: number }
  | { do: 'start' | 'restart'; picks: number[]; isDoubled: boolean; hold: boolean }
  | { do: 'outcome'; kind: OutcomeKind; picks: number[]; waitMs: number; isRepeated: boolean; hold: boolean }
  | { do: 'redrive'; picks: number[]; hold: boolean }
  | { do: 'dismiss'; pick: number; hold: boolean }
  | { do: 'end'; pick: number; isCommit: boolean }
  | { do: 'fold' }
  | { do: 'wait'; us: number }
  | { do: 'waitUntil'; what: 'wake' | 'leaseEnd'; pick: number; offsetUs: number };

/** What an attempt came to: a passing failure is retried while the policy allows it. */
export type OutcomeKind = 'success' | 'passingFailure' | 'finalFailure' | 'unsent';

/** Steps of one history: long enough for a timer to be retried, redriven and retried again. */
const STEPS_MAX = 60;
/** Timers that one statement names. */
const TIMERS_MAX = 3;

const pick = fc.nat(1_000);
const picks = fc.array(pick, { minLength: 1, maxLength: TIMERS_MAX });
const sometimes = fc.integer({ min: 0, max: 3 }).map((n) => n === 0);
const mostly = sometimes.map((isSo) => !isSo);
const due = fc.integer({ min: -50, max: 300 });

/** A step, the more likely the larger its weight. */
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('create' as const),
      dueInMs: due,
      maxRetries: fc.integer({ min: 0, max: 2 }),
      isNamed: fc.boolean(),
      hold: sometimes,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('edit' as const),
      pick,
      versionsBack: sometimes.map(Number),
      isBlind: fc.boolean(),
      dueInMs: fc.option(due, { nil: undefined }),
      hold: sometimes,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('cancel' as const), picks, isLone: fc.boolean(), hold: sometimes }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('fire' as const), pick, hold: sometimes }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('pause' as const), pick, hold: sometimes }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('resume' as const), pick, hold: sometimes }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('read' as const),
      isSweep: sometimes,
      lookAheadMs: fc.integer({ min: 0, max: 100 }),
      // Behind a timer, as when more is due than one read fetches.
      cursorPick: fc.option(pick, { nil: undefined, freq: 1 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('lose' as const), pick }) },
  {
    weight: 7,
    arbitrary: fc.record({ do: fc.constant('start' as const), picks, isDoubled: sometimes, hold: sometimes }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('restart' as const), picks, isDoubled: sometimes, hold: sometimes }),
  },
  {
    weight: 7,
    arbitrary: fc.record({
      do: fc.constant('outcome' as const),
      kind: fc.constantFrom<OutcomeKind>(
        'success',
        'passingFailure',
        'passingFailure',
        'passingFailure',
        'finalFailure',
        'finalFailure',
        'unsent',
      ),
      picks,
      waitMs: fc.integer({ min: 0, max: 100 }),
      isRepeated: sometimes,
      hold: sometimes,
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('redrive' as const), picks, hold: sometimes }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('dismiss' as const), pick, hold: sometimes }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('end' as const), pick, isCommit: mostly }) },
  { weight: 1, arbitrary: fc.constant({ do: 'fold' as const }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), us: fc.integer({ min: 1, max: 100_000 }) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('waitUntil' as const),
      what: fc.constantFrom('wake' as const, 'leaseEnd' as const),
      pick,
      // To the very instant, or just before or behind it: less than a millisecond, to which columns are rounded.
      offsetUs: fc.constantFrom(0, 0, -1, 1, 499, 500),
    }),
  },
);

/** Histories, of which most are as long as they may be: the shorter ones are parts of longer ones. */
export const histories: fc.Arbitrary<Step[]> = fc.array(step, { minLength: 1, maxLength: STEPS_MAX, size: 'max' });
