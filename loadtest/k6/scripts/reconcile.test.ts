import { expect, test } from 'vitest';
import {
  computeDrift,
  computeImbalance,
  type LedgerAnswer,
  readJournal,
  readReceipts,
  reconcile,
} from './reconcile.ts';

/** A journal of lines, and receipts of `[id, receivedAt]`. */
const prove = (lines: string[], receipts: [string, number][]) =>
  reconcile(
    readJournal(lines.join('\n')),
    receipts.map(([id, receivedAt]) => ({ id, receivedAt })),
  );

const FLAWLESS = { missing: [], early: [], repeated: [], afterCancel: [], unknown: [] };

test('what was created is delivered or cancelled', () => {
  const proof = prove(['created a 1000', 'created b 2000', 'cancelled b'], [['a', 1005]]);
  expect(proof).toEqual({ ...FLAWLESS, delivered: 1, latenessMs: [5] });
});

test('a timer that neither came nor was cancelled is missing', () => {
  expect(prove(['created a 1000', 'created b 1000'], [['a', 1000]])).toMatchObject({ delivered: 1, missing: ['b'] });
});

test('a receipt before the due time is early, one in its millisecond is not', () => {
  const lines = ['created a 1000', 'created b 1000'];
  const receipts: [string, number][] = [
    ['a', 999],
    ['b', 1000],
  ];
  expect(prove(lines, receipts).early).toEqual(['a']);
});

test('the due time of the last acknowledged change is the one that counts', () => {
  const lines = ['created a 1000', 'changed a 3000', 'changed a 2000'];
  expect(prove(lines, [['a', 1500]]).early).toEqual(['a']);
  expect(prove(lines, [['a', 2010]])).toEqual({ ...FLAWLESS, delivered: 1, latenessMs: [10] });
});

test('a repeat is counted once for its timer, and its lateness is that of the first request', () => {
  const receipts: [string, number][] = [
    ['a', 1001],
    ['a', 1500],
    ['a', 1900],
  ];
  const proof = prove(['created a 1000'], receipts);
  expect(proof).toEqual({ ...FLAWLESS, delivered: 1, repeated: ['a'], latenessMs: [1] });
});

test('a repeat that is early is early, too', () => {
  const receipts: [string, number][] = [
    ['a', 1000],
    ['a', 999],
  ];
  expect(prove(['created a 1000'], receipts)).toMatchObject({ early: ['a'], repeated: ['a'] });
});

test('a cancelled timer that comes is a fault, and is no delivery', () => {
  const proof = prove(['created a 1000', 'cancelled a'], [['a', 1001]]);
  expect(proof).toEqual({ ...FLAWLESS, delivered: 0, afterCancel: ['a'], latenessMs: [] });
});

test('what nobody was told of is a fault', () => {
  const receipts: [string, number][] = [
    ['a', 1000],
    ['z', 1000],
  ];
  expect(prove(['created a 1000'], receipts).unknown).toEqual(['z']);
});

test('a cancel that is repeated is counted once', () => {
  expect(readJournal('created a 1000\ncancelled a\ncancelled a\n')).toMatchObject({ created: 1, cancelled: 1 });
});

test('the proof waits for the latest due time, that of cancelled timers included', () => {
  expect(readJournal('created a 1000\ncreated b 9000\ncancelled b\n').lastDueAt).toBe(9000);
  expect(readJournal('').lastDueAt).toBe(0);
});

test.each([
  'changed a 1000',
  'cancelled a',
  'created a',
  'created a soon',
  'level=warning',
  'created a 1\ncreated a 1',
])('a journal with %j is refused', (text) => expect(() => readJournal(text)).toThrow('makes no sense'));

test('receipts are read line by line', () => {
  expect(readReceipts('a 1000\nb 1001')).toEqual([
    { id: 'a', receivedAt: 1000 },
    { id: 'b', receivedAt: 1001 },
  ]);
  expect(readReceipts('')).toEqual([]);
});

test('drift is how much later the last quarter is than the first', () => {
  const calm = Array.from({ length: 800 }, (_, index) => 10 + (index % 5));
  expect(computeDrift(calm)).toBe(0);
  expect(computeDrift(calm.map((ms, index) => (index < 600 ? ms : ms + 300)))).toBe(300);
  expect(computeDrift([1, 2, 3, 4_000])).toBe(0);
});

test('lateness is listed in the order of the due times, because drift is judged by it', () => {
  const receipts: [string, number][] = [
    ['b', 2002],
    ['a', 1001],
  ];
  expect(prove(['created b 2000', 'created a 1000'], receipts).latenessMs).toEqual([1, 2]);
});

test('the ledger is added up, whatever it says of itself', () => {
  const total = {
    created: 10,
    scheduled: 1,
    running: 1,
    paused: 1,
    succeeded: 3,
    dead: 1,
    cancelled: 1,
    skipped: 1,
  };
  const ledger: LedgerAnswer = { isBalanced: true, overdueCount: 0, total };
  expect(computeImbalance(ledger)).toBe(1);
  expect(computeImbalance({ ...ledger, total: { ...total, succeeded: 4 } })).toBe(0);
});
