import { createId, RETRY_DEFAULT } from '@punctual/domain';
import { makeStarted } from '@punctual/testkit';
import { describe, expect, it } from 'vitest';
import { type AttemptResult, decideOutcome, giveUpLost, postpone } from './outcome.ts';

const timer = makeStarted({ version: 5, wake_at: 1_000, started_at: 1_012.5, due_at: 400 });
const decide = (fields: Partial<AttemptResult>, attempt = 1) =>
  decideOutcome({ ...timer, attempt }, { outcome: 'succeeded', durationMs: 7, ...fields }, RETRY_DEFAULT, () => 0.5);

describe('an outcome', () => {
  it('of a success ends the timer, with the lateness of this attempt', () => {
    expect(decide({ httpStatus: 204 })).toEqual({
      kind: 'finished',
      runId: null,
      record: {
        id: timer.id,
        version: 5,
        state: 'succeeded',
        outcome: 'succeeded',
        startedAt: 1_012.5,
        latenessMs: 12.5,
        durationMs: 7,
        httpStatus: 204,
        error: null,
        responseBody: null,
      },
    });
  });

  it.each(['retryable', 'timedOut'] as const)(
    'that is %s is retried three times, each wait twice the last, and then final',
    (outcome) => {
      const kinds = [1, 2, 3, 4].map((attempt) => decide({ outcome }, attempt));
      expect(kinds.map(({ kind }) => kind)).toEqual(['retry', 'retry', 'retry', 'finished']);
      expect(kinds.slice(0, 3).map((each) => each.kind === 'retry' && each.record)).toMatchObject([
        { waitMs: 1_000 },
        { waitMs: 2_000 },
        { waitMs: 4_000 },
      ]);
      expect(kinds[3]).toMatchObject({ record: { state: 'dead', outcome } });
    },
  );

  it.each(['permanent', 'blocked'] as const)('that is %s is final at the first attempt', (outcome) => {
    expect(decide({ outcome })).toMatchObject({ kind: 'finished', record: { state: 'dead', outcome } });
  });

  it('waits as long as the endpoint asks, and as the policy says at least', () => {
    expect(decide({ outcome: 'retryable', retryAfterMs: 30_000 })).toMatchObject({ record: { waitMs: 30_000 } });
    expect(decide({ outcome: 'retryable', retryAfterMs: 10 })).toMatchObject({ record: { waitMs: 1_000 } });
  });

  it('carries the run, so that the run is locked when it is written', () => {
    const ofRun = { ...timer, run_id: createId() };
    for (const outcome of ['succeeded', 'retryable', 'permanent'] as const) {
      expect(decideOutcome(ofRun, { outcome, durationMs: 0 }, RETRY_DEFAULT, () => 0.5).runId).toBe(ofRun.run_id);
    }
    expect(giveUpLost(ofRun).runId).toBe(ofRun.run_id);
    expect(postpone(ofRun, 5)).toEqual({ kind: 'postponed', runId: ofRun.run_id, id: timer.id, version: 5, waitMs: 5 });
  });
});
