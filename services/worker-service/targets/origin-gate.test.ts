import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  createOriginGate,
  HOLD_ASSUMED_MS,
  PACES_REMEMBERED_MAX,
  POSTPONE_MAX_MS,
  POSTPONE_MIN_MS,
} from './origin-gate.ts';

const A = 'https://a.example';
const B = 'https://b.example';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function createGate(overrides: Partial<Parameters<typeof createOriginGate>[0]> = {}) {
  return createOriginGate({
    maxInFlightPerOrigin: 2,
    maxWaitingPerOrigin: 3,
    briefMs: 0,
    waitMaxMs: 5_000,
    ...overrides,
  });
}

/** What has been answered so far. */
function collect(answers: (string | Promise<string>)[]): (string | undefined)[] {
  const collected: (string | undefined)[] = answers.map(() => undefined);
  for (const [index, answer] of answers.entries()) {
    void Promise.resolve(answer).then((value) => {
      collected[index] = value;
    });
  }
  return collected;
}

describe('slots', () => {
  it('are as many per origin as set; then so many wait, and the rest is told that it is full', async () => {
    const gate = createGate();
    const answers = Array.from({ length: 7 }, () => gate.enter(A));
    expect(answers.slice(0, 2)).toEqual(['entered', 'entered']);
    expect(answers.slice(2, 5).every((answer) => answer instanceof Promise)).toBe(true);
    expect(answers.slice(5)).toEqual(['full', 'full']);
    const collected = collect(answers);
    await vi.advanceTimersByTimeAsync(0);
    expect(collected.slice(2, 5)).toEqual([undefined, undefined, undefined]);
  });

  it('of a full origin leave other origins alone', () => {
    const gate = createGate();
    for (let count = 0; count < 10; count += 1) gate.enter(A);
    expect(gate.enter(B)).toBe('entered');
  });

  it('that are left go to those who wait, in order of arrival', async () => {
    const gate = createGate({ maxInFlightPerOrigin: 1 });
    const collected = collect([gate.enter(A), gate.enter(A), gate.enter(A), gate.enter(A)]);
    for (const expected of [
      ['entered', 'entered', undefined, undefined],
      ['entered', 'entered', 'entered', undefined],
      ['entered', 'entered', 'entered', 'entered'],
    ]) {
      gate.leave(A, 10);
      await vi.advanceTimersByTimeAsync(0);
      expect(collected).toEqual(expected);
    }
  });

  it('are not waited for longer than set, and who gave up neither takes one nor a place', async () => {
    const gate = createGate({ maxInFlightPerOrigin: 1, maxWaitingPerOrigin: 1, waitMaxMs: 1_000 });
    const collected = collect([gate.enter(A), gate.enter(A)]);
    await vi.advanceTimersByTimeAsync(999);
    expect(collected[1]).toBeUndefined();
    await vi.advanceTimersByTimeAsync(1);
    expect(collected[1]).toBe('full');
    const [later] = [gate.enter(A)];
    expect(later).toBeInstanceOf(Promise);
    gate.leave(A, 1_000);
    await expect(later).resolves.toBe('entered');
    gate.leave(A, 1);
    expect(gate.originCount).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('all left leave nothing behind, however many origins there were', () => {
    const gate = createGate();
    for (let index = 0; index < 1_000; index += 1) gate.enter(`https://${index}.example`);
    expect(gate.originCount).toBe(1_000);
    for (let index = 0; index < 1_000; index += 1) gate.leave(`https://${index}.example`, 1);
    expect(gate.originCount).toBe(0);
  });

  it('left without having been entered are a mistake', () => {
    expect(() => createGate().leave(A, 1)).toThrow();
  });

  it('are given to nobody once closed; those who waited are told so at once', async () => {
    const gate = createGate({ maxInFlightPerOrigin: 1 });
    const collected = collect([gate.enter(A), gate.enter(A), gate.enter(A)]);
    gate.close();
    await vi.advanceTimersByTimeAsync(0);
    expect(collected).toEqual(['entered', 'full', 'full']);
    expect(gate.enter(B)).toBe('full');
    gate.leave(A, 1);
    expect(gate.originCount).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('a queue that is soon worked off', () => {
  const createFast = () => {
    const gate = createGate({ maxInFlightPerOrigin: 1, maxWaitingPerOrigin: 1, briefMs: 100 });
    gate.enter(A);
    gate.leave(A, 10);
    return gate;
  };

  it('may be longer than the short one, as far as the pace lets it, which is known from the last time', () => {
    const gate = createFast();
    const answers = Array.from({ length: 13 }, () => gate.enter(A));
    expect(answers[0]).toBe('entered');
    expect(answers.slice(1, 11).every((answer) => answer instanceof Promise)).toBe(true);
    expect(answers.slice(11)).toEqual(['full', 'full']);
  });

  it('is left after a short while by those beyond the short one, when the origin stops answering', async () => {
    const gate = createFast();
    const collected = collect([gate.enter(A), gate.enter(A), gate.enter(A), gate.enter(A)]);
    await vi.advanceTimersByTimeAsync(299);
    expect(collected).toEqual(['entered', undefined, undefined, undefined]);
    await vi.advanceTimersByTimeAsync(1);
    expect(collected).toEqual(['entered', undefined, 'full', 'full']);
    await vi.advanceTimersByTimeAsync(4_700);
    expect(collected).toEqual(['entered', 'full', 'full', 'full']);
  });

  it('holds back new starts, unless it is worked off just now or takes too long', () => {
    const gate = createFast();
    const findings = Array.from({ length: 5 }, () => {
      gate.enter(A);
      return gate.isBrieflyFull();
    });
    expect(findings).toEqual([false, false, true, true, true]);
    vi.advanceTimersByTime(1_000);
    expect(gate.isBrieflyFull()).toBe(false);
  });

  it('is not held back by how slow the origin was long ago', () => {
    const gate = createGate({ maxInFlightPerOrigin: 1, maxWaitingPerOrigin: 1, briefMs: HOLD_ASSUMED_MS * 3 });
    gate.enter(A);
    gate.leave(A, 10_000);
    const answers = Array.from({ length: 5 }, () => gate.enter(A));
    expect(answers.map((answer) => typeof answer)).toEqual(['string', 'object', 'object', 'object', 'string']);
    expect(gate.suggestPostponeMs(A)).toBe(4 * HOLD_ASSUMED_MS);
  });

  it('of so many origins that one is forgotten counts as that of a new one', () => {
    const gate = createFast();
    for (let index = 0; index < PACES_REMEMBERED_MAX; index += 1) {
      gate.enter(`https://${index}.example`);
      gate.leave(`https://${index}.example`, 10);
    }
    expect([gate.enter(A), gate.enter(A), gate.enter(A)].map((answer) => typeof answer)).toEqual([
      'string',
      'object',
      'string',
    ]);
  });
});

describe('suggestPostponeMs', () => {
  const fill = (gate: ReturnType<typeof createGate>) => {
    for (let count = 0; count < 5; count += 1) gate.enter(A);
  };

  it('is short for an origin that is not busy', () => {
    expect(createGate().suggestPostponeMs(A)).toBe(POSTPONE_MIN_MS);
  });

  it('gives one place after another, at the pace of the origin and behind those who wait in memory', () => {
    const gate = createGate();
    fill(gate);
    // Two slots, each held for about as long as assumed, with three in the queue.
    const paceMs = HOLD_ASSUMED_MS / 2;
    const suggested = Array.from({ length: 4 }, () => gate.suggestPostponeMs(A));
    expect(suggested).toEqual([4, 5, 6, 7].map((place) => place * paceMs));
  });

  it('follows the pace that it sees, faster and slower', () => {
    for (const [heldMs, places] of [
      [400, [800, 1_000]],
      [4_000, [8_000, 10_000]],
    ] as const) {
      const gate = createGate();
      fill(gate);
      gate.leave(A, heldMs);
      expect(gate.enter(A)).toBeInstanceOf(Promise);
      expect([gate.suggestPostponeMs(A), gate.suggestPostponeMs(A)]).toEqual(places);
    }
  });

  it('does not follow slots that were given back unused', () => {
    const gate = createGate();
    fill(gate);
    gate.leave(A, undefined);
    expect(gate.enter(A)).toBeInstanceOf(Promise);
    expect(gate.suggestPostponeMs(A)).toBe(4 * (HOLD_ASSUMED_MS / 2));
    vi.advanceTimersByTime(10_000);
    const hanging = createGate({ waitMaxMs: 60_000 });
    fill(hanging);
    vi.advanceTimersByTime(10_000);
    hanging.leave(A, undefined);
    expect(hanging.suggestPostponeMs(A)).toBe(3 * 5_000);
  });

  it('grows while an origin hangs, although no attempt ends to be counted', () => {
    const gate = createGate({ waitMaxMs: 60_000 });
    fill(gate);
    vi.advanceTimersByTime(10_000);
    expect(gate.suggestPostponeMs(A)).toBe(4 * 5_000);
  });

  it('stays within its bounds, and the places start over at the far end', () => {
    const gate = createGate({ maxInFlightPerOrigin: 1 });
    fill(gate);
    const suggested = Array.from({ length: 700 }, () => gate.suggestPostponeMs(A));
    expect(Math.min(...suggested)).toBeGreaterThanOrEqual(POSTPONE_MIN_MS);
    expect(Math.max(...suggested)).toBeLessThanOrEqual(POSTPONE_MAX_MS);
    const first = suggested[0] ?? 0;
    expect(suggested.filter((each) => each === first).length).toBeGreaterThan(1);
    expect(new Set(suggested).size).toBeGreaterThan(20);
  });
});
