import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RESPONSE_BODY_BYTES_MAX, readResponseText } from './response-text.ts';

describe('readResponseText', () => {
  it('keeps text as it is, and nothing of nothing', () => {
    expect(readResponseText(Buffer.from('grün 世界 🙂'), false)).toBe('grün 世界 🙂');
    expect(readResponseText(Buffer.alloc(0), false)).toBeUndefined();
  });

  it('leaves out a character that the limit cut in two, whatever its length', () => {
    for (const character of ['ü', '世', '🙂']) {
      const bytes = Buffer.from(`ab${character}`);
      for (let length = 3; length < bytes.length; length += 1) {
        expect(readResponseText(bytes.subarray(0, length), true)).toBe('ab');
      }
      expect(readResponseText(bytes, true)).toBe(`ab${character}`);
    }
  });

  it('replaces NUL, which Postgres refuses, and what is no UTF-8', () => {
    expect(readResponseText(Buffer.from('a\0b'), false)).toBe('a\ufffdb');
    expect(readResponseText(Buffer.from([0x61, 0xff, 0x62]), false)).toBe('a\ufffdb');
    // A surrogate in UTF-8 is not UTF-8.
    expect(readResponseText(Buffer.from([0xed, 0xa0, 0x80]), false)?.isWellFormed()).toBe(true);
  });

  it('yields well-formed text without NUL within the limit for any bytes', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 64 }),
      fc.string({ unit: 'binary', maxLength: 64 }).map((text) => Buffer.from(text)),
    );
    fc.assert(
      fc.property(bytes, fc.boolean(), fc.boolean(), (array, isCut, isFull) => {
        // Generating thousands of random bytes is slow; repeating a few reaches the limit as well.
        const body = isFull ? Buffer.alloc(RESPONSE_BODY_BYTES_MAX, Buffer.from([...array, 0])) : Buffer.from(array);
        const text = readResponseText(body, isCut) ?? '';
        expect(text.isWellFormed()).toBe(true);
        expect(text.includes('\0')).toBe(false);
        expect(Buffer.byteLength(text)).toBeLessThanOrEqual(RESPONSE_BODY_BYTES_MAX);
      }),
    );
  });

  it('changes nothing in text that fits and needs no change', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        if (text === '' || text.includes('\0')) return;
        expect(readResponseText(Buffer.from(text), false)).toBe(text);
      }),
    );
  });
});
