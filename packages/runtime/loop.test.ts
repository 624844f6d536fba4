import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Loop, STUCK_AFTER_MS_DEFAULT } from './loop.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** A loop whose turns are counted and end when the test says so. */
function openLoop(options: { pauseMs?: number; run?: () => Promise<void> } = {}) {
  const turns: { end: () => void; fail: (error: Error) => void }[] = [];
  const errors: unknown[] = [];
  const loop = new Loop({
    name: 'test',
    run: options.run ?? (() => new Promise((end, fail) => void turns.push({ end, fail }))),
    pauseMs: () => options.pauseMs ?? 100,
    errorPauseMs: 1_000,
    onError: (error) => errors.push(error),
  });
  return { loop, turns, errors };
}

describe('a loop', () => {
  it('begins at once, then a pause after the end of each turn, one turn at a time', async () => {
    const { loop, turns } = openLoop();
    loop.start();
    loop.start();
    await vi.advanceTimersByTimeAsync(0);
    expect(turns).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(turns).toHaveLength(1);
    turns[0]!.end();
    await vi.advanceTimersByTimeAsync(99);
    expect(turns).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(turns).toHaveLength(2);
    turns[1]!.end();
    await loop.stop();
  });

  it('goes on after a turn that failed, after the longer pause', async () => {
    const { loop, turns, errors } = openLoop();
    loop.start();
    await vi.advanceTimersByTimeAsync(0);
    turns[0]!.fail(new Error('away'));
    await vi.advanceTimersByTimeAsync(999);
    expect(errors).toEqual([new Error('away')]);
    expect(turns).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(turns).toHaveLength(2);
    turns[1]!.end();
    await loop.stop();
  });

  it('is woken out of a pause, and not during a turn', async () => {
    const { loop, turns } = openLoop();
    loop.wake();
    expect(turns).toHaveLength(0);
    loop.start();
    await vi.advanceTimersByTimeAsync(0);
    loop.wake();
    await vi.advanceTimersByTimeAsync(0);
    expect(turns).toHaveLength(1);
    turns[0]!.end();
    await vi.advanceTimersByTimeAsync(10);
    loop.wake();
    await vi.advanceTimersByTimeAsync(0);
    expect(turns).toHaveLength(2);
    turns[1]!.end();
    await vi.advanceTimersByTimeAsync(100);
    expect(turns, 'the pause that was cut short does not come back').toHaveLength(3);
    turns[2]!.end();
    await loop.stop();
  });

  it('stops after the turn under way, early and twice, and begins no other', async () => {
    const { loop, turns } = openLoop();
    await loop.stop();
    loop.start();
    await vi.advanceTimersByTimeAsync(0);
    let isStopped = false;
    const stopping = Promise.all([loop.stop(), loop.stop()]).then(() => {
      isStopped = true;
    });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(isStopped).toBe(false);
    turns[0]!.end();
    await stopping;
    loop.wake();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(turns).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('stops in a pause at once', async () => {
    const { loop, turns } = openLoop();
    loop.start();
    await vi.advanceTimersByTimeAsync(0);
    turns[0]!.end();
    await vi.advanceTimersByTimeAsync(1);
    await loop.stop();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(turns).toHaveLength(1);
  });

  it('is stuck while one turn takes too long, and not in its pauses, however long', async () => {
    const { loop, turns } = openLoop({ pauseMs: 10 * STUCK_AFTER_MS_DEFAULT });
    expect(loop.isStuck).toBe(false);
    loop.start();
    await vi.advanceTimersByTimeAsync(STUCK_AFTER_MS_DEFAULT);
    expect(loop.isStuck).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(loop.isStuck).toBe(true);
    turns[0]!.end();
    await vi.advanceTimersByTimeAsync(5 * STUCK_AFTER_MS_DEFAULT);
    expect(loop.isStuck).toBe(false);
    await loop.stop();
  });

  it('keeps going through turns that end at once', async () => {
    let count = 0;
    const { loop } = openLoop({
      pauseMs: 0,
      run: async () => {
        count += 1;
      },
    });
    loop.start();
    await vi.advanceTimersByTimeAsync(50);
    expect(count).toBeGreaterThan(10);
    await loop.stop();
  });
});
