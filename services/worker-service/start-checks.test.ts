import type { Database } from '@punctual/database';
import { waitUntil } from '@punctual/testkit';
import { expect, test } from 'vitest';
import { CHECK_GOOD_MS, StartChecks } from './start-checks.ts';

const timers = Array.from({ length: 300 }, (_, index) => ({ id: `timer-${index}`, version: 2 }));

function open(answer: (asked: number) => Promise<{ rows: object[] }>) {
  let asked = 0;
  const query = () => {
    asked += 1;
    return answer(asked);
  };
  const checks = new StartChecks({ hot: { query } as unknown as Database['hot'] });
  return { checks, countAsked: () => asked };
}

test('many questions at once take few statements, and each gets its own answer', async () => {
  const { checks, countAsked } = open(async () => {
    await new Promise((resolve) => setImmediate(resolve));
    return { rows: timers.filter((_, index) => index % 3 !== 0) };
  });
  const askedAt = performance.now();
  const answers = await Promise.all(timers.map((timer) => checks.check(timer)));
  const answeredAt = performance.now();
  expect(countAsked()).toBeLessThanOrEqual(3);
  for (const [index, goodUntil] of answers.entries()) {
    if (index % 3 === 0) expect(goodUntil).toBeUndefined();
    else {
      expect(goodUntil!).toBeGreaterThanOrEqual(askedAt + CHECK_GOOD_MS);
      expect(goodUntil!).toBeLessThanOrEqual(answeredAt + CHECK_GOOD_MS);
    }
  }
  // Another version of a timer is another start.
  expect(await checks.check({ id: 'timer-1', version: 3 })).toBeUndefined();
});

test('an answer is good from when it was asked for, however long it takes', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const { checks } = open(async () => {
    await promise;
    return { rows: timers };
  });
  const checking = checks.check(timers[0]!);
  const askedAt = performance.now();
  await waitUntil('the answer takes its time', () => performance.now() > askedAt + 50);
  resolve();
  expect(await checking).toBeLessThanOrEqual(askedAt + CHECK_GOOD_MS);
});

test('a question that can not be asked fails, and the next one does not', async () => {
  const { checks } = open(async (asked) => {
    if (asked === 1) throw new Error('Postgres is away');
    return { rows: timers };
  });
  await expect(checks.check(timers[0]!)).rejects.toThrow('Postgres is away');
  expect(await checks.check(timers[0]!)).toBeGreaterThan(0);
});
