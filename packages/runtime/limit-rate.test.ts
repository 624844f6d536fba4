import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { limitRate } from './limit-rate.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('a limited act', () => {
  it('happens at the first call, then at most once in the interval, with the arguments of that call', () => {
    const acts: string[] = [];
    const act = limitRate((name: string, count: number) => acts.push(`${name}${count}`), 1_000);
    act('a', 1);
    act('b', 2);
    vi.advanceTimersByTime(999);
    act('c', 3);
    vi.advanceTimersByTime(1);
    act('d', 4);
    act('e', 5);
    expect(acts).toEqual(['a1', 'd4']);
  });
});
