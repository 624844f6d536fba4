import { afterEach, expect, test, vi } from 'vitest';
import { boundQueueReads } from './queue-reader.ts';

afterEach(() => {
  vi.useRealTimers();
});

test('a queue that never answers is given up, and asked only once by however many callers', async () => {
  vi.useFakeTimers();
  const read = vi.fn(() => new Promise<never>(() => {}));
  const bound = boundQueueReads(read);
  const reads = [bound(), bound()].map((answer) => answer.catch((error: Error) => error.message));
  await vi.advanceTimersByTimeAsync(2_000);
  expect(await Promise.all(reads)).toEqual(Array(2).fill('The queue did not answer within 1500 ms.'));
  expect(read).toHaveBeenCalledTimes(1);
});

test('each read that ended is followed by a fresh one, whether it failed or not', async () => {
  const figures = [{ name: 'q', backend: 'redis', waiting: 1, active: 2 }];
  const read = vi.fn().mockRejectedValueOnce(new Error('away')).mockResolvedValue(figures);
  const bound = boundQueueReads(read);
  await expect(bound()).rejects.toThrow('away');
  expect(await bound()).toEqual(figures);
  expect(await bound()).toEqual(figures);
  expect(read).toHaveBeenCalledTimes(3);
});
