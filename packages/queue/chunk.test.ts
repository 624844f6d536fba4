import { createId } from '@punctual/domain';
import { describe, expect, it } from 'vitest';
import { decodeChunk, encodeChunk, TIMERS_PER_CHUNK_MAX } from './chunk.ts';

const makeHints = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ id: createId(), version: index + 1 }));

describe('a chunk', () => {
  it('says the same after its journey as JSON', () => {
    for (const count of [0, 1, TIMERS_PER_CHUNK_MAX]) {
      const hints = makeHints(count);
      expect(decodeChunk(JSON.parse(JSON.stringify(encodeChunk(hints))))).toEqual(hints);
      const timed = hints.map((hint, index) => ({ ...hint, wakeAt: 1_700_000_000_000 + index }));
      expect(decodeChunk(JSON.parse(JSON.stringify(encodeChunk(timed))))).toEqual(timed);
    }
  });

  it('never makes a timer due earlier than it is', () => {
    expect(decodeChunk(encodeChunk([{ id: createId(), version: 1, wakeAt: 1_700.25 }]))[0]!.wakeAt).toBe(1_701);
  });

  it('carries ids, versions and due times, and nothing of the customer', () => {
    const hints = makeHints(2).map((hint) => ({ ...hint, payload: 'secret', partition: 3, wakeAt: 5 }));
    expect(Object.keys(encodeChunk(hints))).toEqual(['ids', 'versions', 'wakeAts']);
    expect(JSON.stringify(encodeChunk(hints))).not.toContain('secret');
  });

  const id = createId();
  it.each([
    ['nothing', undefined],
    ['null', null],
    ['a number', 7],
    ['a text', 'ids'],
    ['a list', [id]],
    ['an object of another version', { timers: [{ id, version: 1 }] }],
    ['ids without versions', { ids: [id] }],
    ['fewer versions than ids', { ids: [id, id], versions: [1] }],
    ['more versions than ids', { ids: [id], versions: [1, 2] }],
    ['an id that is none', { ids: [id, 'x'], versions: [1, 1] }],
    ['an id that is no text', { ids: [id, 5], versions: [1, 1] }],
    ['a version that is a text', { ids: [id], versions: ['1'] }],
    ['a version that is no whole number', { ids: [id], versions: [1.5] }],
    ['a version below 1', { ids: [id], versions: [0] }],
    ['a version that no row can have', { ids: [id], versions: [2 ** 31] }],
    ['a due time that is a text', { ids: [id], versions: [1], wakeAts: ['soon'] }],
    ['fewer due times than ids', { ids: [id, id], versions: [1, 1], wakeAts: [1] }],
  ])('that is %s yields nothing', (_, message) => {
    expect(decodeChunk(message)).toEqual([]);
  });

  it('that is too long yields no more than a chunk', () => {
    expect(decodeChunk(encodeChunk(makeHints(1_000)))).toHaveLength(TIMERS_PER_CHUNK_MAX);
  });
});
