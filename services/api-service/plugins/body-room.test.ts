import { describe, expect, it } from 'vitest';
import { BodyRoom } from './body-room.ts';

const MB = 1_000_000;

describe('the room for bodies', () => {
  it('holds so many bytes and no more, and takes others again when these are given back', () => {
    const room = new BodyRoom(40 * MB);
    expect(room.take('a', 15 * MB)).toBe(true);
    expect(room.take('b', 15 * MB)).toBe(true);
    expect(room.take('c', MB)).toBe(false);
    expect(room.takenBytes).toBe(30 * MB);
    room.give('a', 15 * MB);
    expect(room.take('c', 15 * MB)).toBe(true);
    room.give('b', 15 * MB);
    room.give('c', 15 * MB);
    expect(room.takenBytes).toBe(0);
  });

  it('leaves half to others, whatever one tenant sends', () => {
    const room = new BodyRoom(40 * MB);
    expect(room.take('a', 8 * MB)).toBe(true);
    expect(room.take('a', 8 * MB)).toBe(false);
    expect(room.take('b', 8 * MB)).toBe(true);
    room.give('a', 8 * MB);
    expect(room.take('a', 15 * MB)).toBe(true);
  });

  it('has place for the largest body of a tenant of which nothing else is under way', () => {
    const room = new BodyRoom(40 * MB);
    expect(room.take('a', 30 * MB)).toBe(true);
    expect(room.take('b', MB)).toBe(false);
    room.give('a', 30 * MB);
    expect(room.take('b', 30 * MB)).toBe(true);
  });

  it('has place for small bodies while large ones fill theirs', () => {
    const room = new BodyRoom(40 * MB);
    expect(room.take('a', 30 * MB)).toBe(true);
    expect(room.take('b', 300)).toBe(true);
    expect(room.take('a', 300)).toBe(true);
    room.give('a', 300);
    room.give('b', 300);
    expect(room.takenBytes).toBe(30 * MB);
  });
});
