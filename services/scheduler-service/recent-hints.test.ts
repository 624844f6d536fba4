import { createId } from '@punctual/domain';
import { describe, expect, it } from 'vitest';
import { RecentHints } from './recent-hints.ts';

describe('recent hints', () => {
  it('are remembered by version for one turn at least and two at most', () => {
    const recent = new RecentHints();
    const hint = { id: createId(), version: 3 };
    expect(recent.has(hint)).toBe(false);
    recent.add(hint);
    expect(recent.has(hint)).toBe(true);
    expect(recent.has({ ...hint, version: 4 })).toBe(false);
    recent.rotate();
    expect(recent.has(hint)).toBe(true);
    recent.rotate();
    expect(recent.has(hint)).toBe(false);
    expect(recent.size).toBe(0);
  });

  it('know the newest version of a timer, in whichever turn it was added', () => {
    const recent = new RecentHints();
    const id = createId();
    recent.add({ id, version: 1 });
    recent.rotate();
    recent.add({ id, version: 2 });
    expect(recent.has({ id, version: 1 })).toBe(false);
    expect(recent.has({ id, version: 2 })).toBe(true);
  });

  it('are forgotten when they did not reach the queue, in whichever turn they were added', () => {
    const recent = new RecentHints();
    const hint = { id: createId(), version: 1 };
    recent.add(hint);
    recent.rotate();
    recent.remove(hint);
    expect(recent.has(hint)).toBe(false);
  });
});
