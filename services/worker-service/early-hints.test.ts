import { DatabaseClock, readMonotonicMs } from '@punctual/database';
import type { Hint } from '@punctual/queue';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { EarlyHints } from './early-hints.ts';

const WINDOW_MS = 16;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Hints held by a clock that agrees with this process', and what was let go: when, and which of which chunk. */
function openEarlyHints(clock = new DatabaseClock()) {
  const began = readMonotonicMs();
  clock.observe(began, began, began);
  const letGo: { at: number; parts: { chunk: string; ids: string[] }[] }[] = [];
  const early = new EarlyHints<string>({
    clock,
    windowMs: WINDOW_MS,
    onDue: (parts) =>
      letGo.push({
        at: readMonotonicMs() - began,
        parts: parts.map(({ chunk, hints }) => ({ chunk, ids: hints.map(({ id }) => id) })),
      }),
  });
  const hold = (chunk: string, ...waits: number[]) => {
    const hints = waits.map((wait): Hint => ({ id: `${chunk}${wait}`, version: 1, wakeAt: began + wait }));
    return early.hold(chunk, hints).map(({ id }) => id);
  };
  return { early, hold, letGo };
}

describe('early hints', () => {
  it('are let go when they are due, those that follow within the window together', () => {
    const { hold, letGo } = openEarlyHints();
    expect(hold('a', 10, 12, 20, 60)).toEqual([]);
    expect(hold('b', 14)).toEqual([]);
    vi.advanceTimersByTime(100);
    expect(letGo.map(({ parts }) => parts)).toEqual([
      [{ chunk: 'a', ids: ['a10'] }],
      [
        { chunk: 'a', ids: ['a12', 'a20'] },
        { chunk: 'b', ids: ['b14'] },
      ],
      [{ chunk: 'a', ids: ['a60'] }],
    ]);
    for (const [index, { at }] of letGo.entries()) expect(at).toBeGreaterThanOrEqual([10, 20, 60][index]!);
    expect(letGo[1]!.at - letGo[0]!.at).toBeLessThanOrEqual(WINDOW_MS + 2);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('do not hold back what is due, or says nothing of when it is', () => {
    const { early, hold, letGo } = openEarlyHints();
    expect(hold('a', -5, 10)).toEqual(['a-5']);
    const hint = { id: 'b', version: 1 };
    expect(early.hold('b', [hint])).toEqual([hint]);
    expect(letGo).toEqual([]);
  });

  it('are let go at the next alarm when the clock was set back by hours meanwhile', () => {
    const clock = new DatabaseClock();
    const { hold, letGo } = openEarlyHints(clock);
    hold('a', 10, 40);
    const now = readMonotonicMs();
    clock.observe(now, now - 7_200_000, now);
    vi.advanceTimersByTime(50);
    expect(letGo.flatMap(({ parts }) => parts)).toEqual([{ chunk: 'a', ids: ['a10', 'a40'] }]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('are not held when they are due much later, or when the clock is unknown', () => {
    const { hold } = openEarlyHints();
    expect(hold('a', 1_500, 500)).toEqual(['a1500']);
    const unknown = new EarlyHints<string>({ clock: new DatabaseClock(), windowMs: WINDOW_MS, onDue: () => {} });
    const hint = { id: 'b', version: 1, wakeAt: readMonotonicMs() + 10 };
    expect(unknown.hold('b', [hint])).toEqual([hint]);
  });
});
