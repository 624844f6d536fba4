import { describe, expect, it } from 'vitest';
import { BodyRoom } from './body-room.ts';

describe('the room for bodies', () => {
  it('holds so many bytes and no more, and takes others again when these are given back', () => {
    const room = new BodyRoom(100);
    expect(room.take('a', 50)).toBe(true);
    expect(room.take('b', 50)).toBe(true);
    expect(room.take('c', 1)).toBe(false);
    expect(room.takenBytes).toBe(100);
    room.give('a', 50);
    expect(room.take('c', 50)).toBe(true);
    room.give('b', 50);
    room.give('c', 50);
    expect(room.takenBytes).toBe(0);
  });

  it('leaves half to others, whatever one tenant sends', () => {
    const room = new BodyRoom(100);
    expect(room.take('a', 30)).toBe(true);
    expect(room.take('a', 30)).toBe(false);
    expect(room.take('b', 30)).toBe(true);
    room.give('a', 30);
    expect(room.take('a', 50)).toBe(true);
  });

  it('has place for the largest body of a tenant of which nothing else is under way', () => {
    const room = new BodyRoom(100);
    expect(room.take('a', 100)).toBe(true);
    expect(room.take('b', 1)).toBe(false);
    room.give('a', 100);
    expect(room.take('b', 100)).toBe(true);
  });
});
