import { expect, test } from 'vitest';
import { LAST_INSTANT_MS } from './delay-rule.ts';
import { computeWait, readOnTimeout, type SignalDelay, validateSignalDelay } from './signal-delay.ts';

const anchor = { anchorAt: Date.UTC(2027, 0, 1), timeZone: 'Europe/Paris' };
const timeout = { type: 'duration', value: 2, unit: 'hours' } as const;

test('a rule waits for its due time and for nothing else', () => {
  expect(computeWait(timeout, anchor)).toMatchObject({
    due: { dueAt: anchor.anchorAt + 7_200_000 },
    waitsFor: null,
  });
  expect(computeWait(undefined, anchor)).toMatchObject({ due: { dueAt: anchor.anchorAt }, waitsFor: null });
});

test('a signal is waited for until its time-out, reckoned as any rule, or until the last instant that can be written', () => {
  const delay: SignalDelay = { type: 'signal', name: 'paid' };
  expect(computeWait({ ...delay, timeout }, anchor)).toMatchObject({
    due: { kind: 'due', dueAt: anchor.anchorAt + 7_200_000 },
    waitsFor: 'paid',
  });
  expect(computeWait(delay, anchor)).toMatchObject({ due: { kind: 'due', dueAt: LAST_INSTANT_MS }, waitsFor: 'paid' });
  expect(new Date(LAST_INSTANT_MS).toISOString()).toBe('9999-12-31T23:59:59.999Z');
  const past = { type: 'date', year: 2020, month: 1, day: 1, onPast: 'skip' } as const;
  expect(computeWait({ ...delay, timeout: past }, anchor).due.kind).toBe('skip');
});

test('a task fails by its time-out unless it says that it runs; one that waits for no signal runs', () => {
  expect(readOnTimeout({ type: 'signal', name: 'paid', timeout })).toBe('fail');
  expect(readOnTimeout({ type: 'signal', name: 'paid', timeout, onTimeout: 'run' })).toBe('run');
  expect(readOnTimeout(timeout)).toBe('run');
  expect(readOnTimeout(undefined)).toBe('run');
});

test('names are plain and short, and what is to happen at a time-out needs one', () => {
  const faultsOf = (fields: object) =>
    validateSignalDelay({ type: 'signal', name: 'paid', ...fields }).map(({ pointer }) => pointer);
  expect(faultsOf({})).toEqual([]);
  expect(faultsOf({ name: 'a.B-c_1', timeout, onTimeout: 'fail' })).toEqual([]);
  for (const name of ['', '.', '..', '.a', 'a b', 'a/b', 'é', 'x'.repeat(65), 7])
    expect(faultsOf({ name })).toEqual(['/name']);
  expect(faultsOf({ onTimeout: 'run' })).toEqual(['/onTimeout']);
});
