import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { KnownLimits } from './known-limits.ts';
import { RequestRates } from './request-rates.ts';

let now = 0;
beforeEach(() => {
  now = 1_000;
  vi.spyOn(performance, 'now').mockImplementation(() => now);
});
afterEach(() => {
  vi.restoreAllMocks();
});

function openRates(limits: Record<string, number>): RequestRates {
  const known = {
    find: (tenantId: string) =>
      limits[tenantId] === undefined ? undefined : { requestsPerSecondMax: limits[tenantId], liveTimersMax: undefined },
  };
  return new RequestRates(known as Pick<KnownLimits, 'find'> as KnownLimits);
}

/** Requests of those sent that may pass. */
const countPassing = (rates: RequestRates, sent: number, tenantId = 'a') =>
  Array.from({ length: sent }, () => rates.countRequest(tenantId)).filter((waitMs) => waitMs === 0).length;

test('a tenant may send its second’s worth at once, and then as much as comes back with time', () => {
  const rates = openRates({ a: 10 });
  expect(countPassing(rates, 50)).toBe(10);
  now += 100;
  expect(countPassing(rates, 50)).toBe(1);
  now += 10_000;
  expect(countPassing(rates, 50)).toBe(10);
});

test('over any stretch of time no more pass than its length and one second allow', () => {
  const rates = openRates({ a: 7 });
  let passed = 0;
  for (let step = 0; step < 1_000; step += 1) {
    passed += countPassing(rates, 3);
    now += 13;
  }
  expect(passed).toBeLessThanOrEqual(7 * (13 + 1));
  expect(passed).toBeGreaterThanOrEqual(7 * 13);
});

test('the wait that is asked for is long enough, and not much too long', () => {
  const rates = openRates({ a: 2 });
  countPassing(rates, 2);
  const waitMs = rates.countRequest('a');
  expect(waitMs).toBe(500);
  now += waitMs - 1;
  expect(rates.countRequest('a')).toBeGreaterThan(0);
  now += 1;
  expect(rates.countRequest('a')).toBe(0);
});

test('a batch counts its items', () => {
  const rates = openRates({ a: 10 });
  expect([rates.countRequest('a'), rates.countItems('a', 6)]).toEqual([0, 0]);
  expect(countPassing(rates, 50)).toBe(4);
});

test('a batch of more than a second’s worth passes with a full bucket, and the seconds that follow pay for it', () => {
  const rates = openRates({ a: 10 });
  expect([rates.countRequest('a'), rates.countItems('a', 45)]).toEqual([0, 0]);
  now += 3_500;
  expect(countPassing(rates, 50)).toBe(0);
  now += 100;
  expect(countPassing(rates, 50)).toBe(1);
  // Not full: no such batch passes, and it costs nothing but the request.
  expect(rates.countItems('a', 45)).toBeGreaterThan(0);
});

test('what a request turned out to be about is owed, and the requests that follow wait until it is paid', () => {
  const rates = openRates({ a: 10 });
  expect(rates.countRequest('a')).toBe(0);
  // A second later the bucket is full, and no fuller than that.
  now += 5_000;
  rates.countFound('a', 31);
  expect(rates.countRequest('a')).toBe(2_100);
  now += 2_099;
  expect(countPassing(rates, 50)).toBe(0);
  now += 1;
  expect(countPassing(rates, 50)).toBe(1);
});

test('a request that found nothing, or one thing, owes nothing more', () => {
  const rates = openRates({ a: 2 });
  for (const found of [0, 1]) {
    expect(rates.countRequest('a')).toBe(0);
    rates.countFound('a', found);
  }
  expect(rates.countRequest('a')).toBeGreaterThan(0);
  rates.countFound('free', 1_000);
  expect(rates.countRequest('free')).toBe(0);
});

test('tenants do not use up each other’s rates, and one without a limit has none', () => {
  const rates = openRates({ a: 1, b: 1 });
  expect(countPassing(rates, 5, 'a')).toBe(1);
  expect(countPassing(rates, 5, 'b')).toBe(1);
  expect(countPassing(rates, 500, 'free')).toBe(500);
  expect(rates.countItems('free', 1_000)).toBe(0);
});

test('a limit that was changed holds from the next request on', () => {
  const limits: Record<string, number> = { a: 1 };
  const rates = openRates(limits);
  expect(countPassing(rates, 5)).toBe(1);
  limits.a = 3;
  expect(countPassing(rates, 5)).toBe(3);
  delete limits.a;
  expect(countPassing(rates, 5)).toBe(5);
});
