import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Batcher, type BatcherOptions } from './batcher.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A batcher of numbers, each as heavy as it says, and the batches it began; each ends when `end` is called. */
function createBatcher(overrides: Partial<BatcherOptions<number>> = {}) {
  const batches: { items: readonly number[]; end: () => void }[] = [];
  const batcher = new Batcher<number>({
    run: (items) => new Promise((resolve) => batches.push({ items, end: resolve })),
    windowMs: 10,
    weigh: (item) => item,
    weightMax: 10,
    quickMax: 1,
    batchesMax: 3,
    ...overrides,
  });
  return {
    batcher,
    list: () => batches.map(({ items }) => items),
    end: async (index: number) => {
      batches[index]!.end();
      await vi.advanceTimersByTimeAsync(0);
    },
  };
}

describe('a batch', () => {
  it('takes what comes within the window of its first item, while more come', () => {
    const { batcher, list } = createBatcher();
    batcher.add(1);
    vi.advanceTimersByTime(4);
    batcher.add(2);
    vi.advanceTimersByTime(5);
    batcher.add(3);
    expect(list()).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(list()).toEqual([[1, 2, 3]]);
  });

  it('waits for half the window when nothing comes in its second quarter', () => {
    const { batcher, list } = createBatcher();
    batcher.add(1, 2);
    vi.advanceTimersByTime(2);
    batcher.add(3);
    vi.advanceTimersByTime(2);
    expect(list()).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(list()).toEqual([[1, 2, 3]]);
  });

  it('waits for nobody when the one before had a single item', async () => {
    const { batcher, list, end } = createBatcher();
    batcher.add(1);
    vi.advanceTimersByTime(10);
    await end(0);
    batcher.add(2);
    expect(list()).toEqual([[1], [2]]);
    // Those that come while it is under way are two: the next one waits for others again.
    batcher.add(3, 4);
    await end(1);
    expect(list()).toEqual([[1], [2], [3, 4]]);
    await end(2);
    batcher.add(5);
    expect(list()).toHaveLength(3);
  });

  it('waits for nothing when there is no window', () => {
    const { batcher, list } = createBatcher({ windowMs: 0 });
    batcher.add(1);
    expect(list()).toEqual([[1]]);
  });

  it('begins at once when it weighs enough, and never weighs more', async () => {
    const { batcher, list, end } = createBatcher();
    for (const item of [4, 4, 4]) batcher.add(item);
    expect(list()).toEqual([[4, 4]]);
    vi.advanceTimersByTime(10);
    expect(list()).toEqual([[4, 4]]);
    await end(0);
    expect(list()).toEqual([[4, 4], [4]]);
  });

  it('waits for no more when it has enough, also when that came while another was under way', async () => {
    const { batcher, list, end } = createBatcher({ weightEnough: 6 });
    batcher.add(3, 3);
    expect(list()).toEqual([[3, 3]]);
    batcher.add(2);
    batcher.add(4);
    await end(0);
    expect(list()).toEqual([
      [3, 3],
      [2, 4],
    ]);
    await end(1);
    batcher.add(5);
    expect(list()).toHaveLength(2);
  });

  it('takes an item alone that weighs more than a batch may', () => {
    const { batcher, list } = createBatcher();
    batcher.add(30);
    expect(list()).toEqual([[30]]);
  });

  it('that comes while another is under way takes all that came meanwhile', async () => {
    const { batcher, list, end } = createBatcher({ windowMs: 0 });
    for (const item of [1, 2, 3]) batcher.add(item);
    expect(list()).toEqual([[1]]);
    await end(0);
    expect(list()).toEqual([[1], [2, 3]]);
    await end(1);
    batcher.add(4);
    expect(list()).toEqual([[1], [2, 3], [4]]);
  });

  it('that is slow keeps others from beginning only when there are too many such', async () => {
    const { batcher, list, end } = createBatcher({ windowMs: 0 });
    for (const item of [1, 2, 3, 4]) {
      batcher.add(item);
      await vi.advanceTimersByTimeAsync(100);
    }
    expect(list()).toEqual([[1], [2], [3]]);
    await end(1);
    expect(list()).toEqual([[1], [2], [3], [4]]);
    // The end of a slow one makes no room for a second quick one.
    await end(0);
    batcher.add(5);
    expect(list()).toHaveLength(4);
    await end(3);
    expect(list()).toEqual([[1], [2], [3], [4], [5]]);
  });
});

describe('flush', () => {
  it('ends when all has run, what came meanwhile included', async () => {
    const { batcher, list, end } = createBatcher();
    let isFlushed = false;
    batcher.add(1);
    void batcher.flush().then(() => {
      isFlushed = true;
    });
    expect(list()).toEqual([[1]]);
    batcher.add(2);
    await end(0);
    expect([list(), isFlushed]).toEqual([[[1], [2]], false]);
    await end(1);
    expect(isFlushed).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('ends at once when there is nothing', async () => {
    await createBatcher().batcher.flush();
  });
});
