import { describe, expect, it } from 'vitest';
import { choosePartition, createId, DEFAULT_TENANT_ID, isId } from './identity.ts';

describe('ids', () => {
  it('are UUIDs of version 7 that sort in the order in which they were made', () => {
    const beganAt = Date.now();
    const ids = Array.from({ length: 20_000 }, createId);
    const endedAt = Date.now();
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids.slice(0, 100)) {
      expect(isId(id)).toBe(true);
      expect(id[14]).toBe('7');
    }
    const times = ids.map((id) => Number.parseInt(id.replace('-', '').slice(0, 12), 16));
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(times[0]).toBeGreaterThanOrEqual(beganAt - 1);
    expect(times.at(-1)).toBeLessThanOrEqual(endedAt + 1);
  });

  it.each([
    ['', false],
    ['abc', false],
    [`${DEFAULT_TENANT_ID} `, false],
    [`${DEFAULT_TENANT_ID}\n`, false],
    [DEFAULT_TENANT_ID.replaceAll('-', ''), false],
    [DEFAULT_TENANT_ID, true],
    ['01920000-ABCD-7000-8000-00000000000F', true],
  ])('"%s" is an id: %s', (text, expected) => {
    expect(isId(text)).toBe(expected);
  });
});

describe('partitions', () => {
  it.each([1, 7, 64, 1024])('get equal shares of the ids, of %i partitions', (count) => {
    const idsPerPartition = 100;
    const sizes = new Array<number>(count).fill(0);
    for (let made = 0; made < count * idsPerPartition; made += 1) sizes[choosePartition(createId(), count)]! += 1;
    // Six standard deviations either way: once in hundreds of millions of partitions by chance.
    const tolerance = 6 * Math.sqrt(idsPerPartition);
    for (const size of sizes) expect(Math.abs(size - idsPerPartition)).toBeLessThan(tolerance);
  });

  it('are the same for the same id, in either case of its letters', () => {
    const id = '01920000-0000-7000-8000-0000deadbeef';
    expect(choosePartition(id, 64)).toBe(0xdeadbeef % 64);
    expect(choosePartition(id.toUpperCase(), 64)).toBe(0xdeadbeef % 64);
  });
});
