import { describe, expect, it } from 'vitest';
import { RETRY_AFTER_READ_MAX_MS, readRetryAfterMs } from './retry-after.ts';

const NOW_MS = Date.UTC(2026, 10, 21, 12, 0, 0);

describe('readRetryAfterMs', () => {
  it.each([
    ['0', 0],
    ['1', 1_000],
    [' 120 ', 120_000],
    ['86400', RETRY_AFTER_READ_MAX_MS],
    ['86401', RETRY_AFTER_READ_MAX_MS],
    ['999999999999999', RETRY_AFTER_READ_MAX_MS],
    ['Sat, 21 Nov 2026 12:00:30 GMT', 30_000],
    ['Saturday, 21-Nov-26 12:00:30 GMT', 30_000],
    ['Sat Nov 21 12:00:30 2026', 30_000],
    ['Sat Nov  7 12:00:30 2026', 0],
    ['Sat, 21 Nov 2026 12:00:00 GMT', 0],
    ['Fri, 20 Nov 2026 12:00:00 GMT', 0],
    ['Fri, 31 Dec 9999 23:59:59 GMT', RETRY_AFTER_READ_MAX_MS],
  ])('%j is %i ms', (header, expected) => {
    expect(readRetryAfterMs(header, NOW_MS)).toBe(expected);
  });

  it.each([
    undefined,
    '',
    'soon',
    '-1',
    '1.5',
    '1e3',
    '0x10',
    '1,2',
    '9999999999999999',
    '120 seconds',
    '2026-11-21T12:00:30Z',
    'Sat, 21 Nov 2026 12:00:30',
    'Sat, 21 Nov 2026 12:00:30 PST',
    'Sat, 99 Nov 2026 12:00:30 GMT',
    'Sat, 21 Foo 2026 12:00:30 GMT',
    ['1', '2'],
  ])('%j is ignored', (header) => {
    expect(readRetryAfterMs(header, NOW_MS)).toBeUndefined();
  });
});
