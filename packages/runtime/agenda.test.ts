import { describe, expect, it } from 'vitest';
import { Agenda } from './agenda.ts';

describe('an agenda', () => {
  it('gives what is wanted by then, in order, once', () => {
    const agenda = new Agenda<string>();
    agenda.add(30, 'c');
    agenda.add(10, 'a');
    agenda.add(10, 'b');
    agenda.add(31, 'd');
    expect([agenda.size, agenda.findNext()]).toEqual([4, 10]);
    expect(agenda.take(9)).toEqual([]);
    expect(agenda.take(30)).toEqual(['a', 'b', 'c']);
    expect(agenda.take(30)).toEqual([]);
    expect([agenda.size, agenda.findNext()]).toEqual([1, 31]);
  });

  it('never gives an item before its time, when that lies between two ticks', () => {
    const agenda = new Agenda<string>();
    agenda.add(10.2, 'a');
    expect(agenda.take(10.9)).toEqual([]);
    expect(agenda.findNext()).toBe(11);
    expect(agenda.take(11)).toEqual(['a']);
  });

  it('has nothing after it was cleared', () => {
    const agenda = new Agenda<string>();
    agenda.add(1, 'a');
    agenda.clear();
    expect([agenda.size, agenda.findNext(), agenda.take(10)]).toEqual([0, Number.POSITIVE_INFINITY, []]);
  });
});
