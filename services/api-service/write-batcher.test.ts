import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { WriteBatcher, type WriteBatcherOptions } from './write-batcher.ts';

const WINDOW_MS = 5;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A batcher of numbers whose transactions end when the test says so. */
function createBatcher(options: Partial<WriteBatcherOptions<number, string>> = {}) {
  const batches: { items: readonly number[]; commit: () => void; fail: (error: Error) => void }[] = [];
  const batcher = new WriteBatcher<number, string>({
    store: (items) =>
      new Promise((resolve, reject) => {
        batches.push({ items, commit: () => resolve(items.map((item) => `stored ${item}`)), fail: reject });
      }),
    windowMs: WINDOW_MS,
    batchItemsMax: 10,
    batchesMax: 1,
    queueMax: 100,
    waitMsMax: 1_000,
    ...options,
  });
  return { batcher, batches };
}
/** Until whatever waits now has waited long enough. */
const turn = () => vi.advanceTimersByTimeAsync(WINDOW_MS);
const refusedData = () => Object.assign(new Error('refused'), { code: '22P02' });

test('what arrives together is written together, and answered only after the commit', async () => {
  const { batcher, batches } = createBatcher();
  let answered = 0;
  const writes = [1, 2, 3].map((item) => batcher.write(item).finally(() => (answered += 1)));
  await turn();
  expect(batches.map(({ items }) => items)).toEqual([[1, 2, 3]]);
  await turn();
  expect(answered).toBe(0);
  batches[0]!.commit();
  expect(await Promise.all(writes)).toEqual(['stored 1', 'stored 2', 'stored 3']);
});

test('while a batch is under way the next one collects, and begins when it ends', async () => {
  const { batcher, batches } = createBatcher();
  const first = batcher.write(1);
  await turn();
  const rest = [2, 3].map((item) => batcher.write(item));
  await turn();
  expect(batches).toHaveLength(1);
  batches[0]!.commit();
  await first;
  await turn();
  expect(batches[1]!.items).toEqual([2, 3]);
  batches[1]!.commit();
  await Promise.all(rest);
});

test('no batch is larger, and no more are under way, than allowed', async () => {
  const { batcher, batches } = createBatcher({ batchItemsMax: 4, batchesMax: 2 });
  const writes = Array.from({ length: 11 }, (_, item) => batcher.write(item));
  await turn();
  expect(batches.map(({ items }) => items.length)).toEqual([4, 4]);
  for (let n = 0; n < 3; n += 1) {
    batches[n]!.commit();
    await turn();
  }
  expect(batches[2]!.items.length).toBe(3);
  await Promise.all(writes);
});

test('what finds no room is refused at once with a 503 that says when to come again', async () => {
  let refused = 0;
  const { batcher, batches } = createBatcher({ queueMax: 2, onRefuse: () => (refused += 1) });
  const writes = [1, 2].map((item) => batcher.write(item));
  await expect(batcher.write(3)).rejects.toMatchObject({
    status: 503,
    code: 'overloaded',
    headers: { 'retry-after': '1' },
  });
  expect(refused).toBe(1);
  await turn();
  batches[0]!.commit();
  await Promise.all(writes);
});

test('what waited too long for its transaction is refused with a 503 and never written; what came later is written', async () => {
  let refused = 0;
  const { batcher, batches } = createBatcher({ waitMsMax: 1_000, onRefuse: () => (refused += 1) });
  const first = batcher.write(1);
  await turn();
  const late = expect(batcher.write(2)).rejects.toMatchObject({ status: 503, code: 'overloaded' });
  await vi.advanceTimersByTimeAsync(600);
  const fresh = batcher.write(3);
  await vi.advanceTimersByTimeAsync(600);
  batches[0]!.commit();
  await Promise.all([first, late]);
  await turn();
  expect(refused).toBe(1);
  expect(batches[1]!.items).toEqual([3]);
  batches[1]!.commit();
  await fresh;
});

test('an item whose data Postgres refuses fails alone: the others of its batch are written', async () => {
  const stored: number[] = [];
  const { batcher } = createBatcher({
    store: async (items) => {
      if (items.includes(2)) throw refusedData();
      stored.push(...items);
      return items.map(String);
    },
  });
  const writes = Promise.allSettled([1, 2, 3].map((item) => batcher.write(item)));
  await turn();
  const results = await writes;
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect(stored).toEqual([1, 3]);
});

test('when Postgres is away nothing is tried one by one, and everybody is told', async () => {
  let calls = 0;
  const { batcher } = createBatcher({
    store: async () => {
      calls += 1;
      throw Object.assign(new Error('away'), { code: 'ECONNREFUSED' });
    },
  });
  const writes = Promise.allSettled([1, 2, 3].map((item) => batcher.write(item)));
  await turn();
  const results = await writes;
  expect(results.every(({ status }) => status === 'rejected')).toBe(true);
  expect(calls).toBe(1);
});

test('a flush resolves when everything is written, and at once when there is nothing', async () => {
  const { batcher, batches } = createBatcher();
  await batcher.flush();
  const write = batcher.write(1);
  let isFlushed = false;
  const flush = batcher.flush().then(() => (isFlushed = true));
  expect(batches).toHaveLength(1);
  const late = batcher.write(2);
  await turn();
  expect(isFlushed).toBe(false);
  batches[0]!.commit();
  await turn();
  expect(isFlushed).toBe(false);
  batches[1]!.commit();
  await Promise.all([write, late, flush]);
});
