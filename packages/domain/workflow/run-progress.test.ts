import { describe, expect, it } from 'vitest';
import {
  beginTaskStates,
  computeRunStatus,
  decodeTaskStates,
  encodeTaskStates,
  findReadyTasks,
} from './run-progress.ts';

describe("a run's progress", () => {
  it('begins with nothing begun, and its roots are ready', () => {
    const tasks = [{ key: 'b', after: ['a'] }, { key: 'a' }, { key: 'c' }];
    const states = beginTaskStates(tasks);
    expect(states).toEqual(['pending', 'pending', 'pending']);
    expect(findReadyTasks(tasks, states)).toEqual([1, 2]);
  });

  it('lets a task begin when its parents succeeded or were skipped, never when one is dead or cancelled', () => {
    const tasks = [{ key: 'a' }, { key: 'b' }, { key: 'c', after: ['a', 'b'] }];
    expect(findReadyTasks(tasks, ['succeeded', 'skipped', 'pending'])).toEqual([2]);
    for (const state of ['pending', 'live', 'dead', 'cancelled'] as const) {
      expect(findReadyTasks(tasks, ['succeeded', state, 'pending'])).not.toContain(2);
    }
  });

  it.each([
    ['llss', 'running'],
    ['ldc', 'running'],
    ['ssk', 'succeeded'],
    ['', 'succeeded'],
    ['sdp', 'failed'],
    ['sdc', 'failed'],
    ['scp', 'cancelled'],
    ['sp', 'cancelled'],
  ])('tasks "%s" make a run that is %s', (letters, status) => {
    expect(computeRunStatus(decodeTaskStates(letters))).toBe(status);
  });

  it('refuses letters that no version wrote', () => {
    expect(() => decodeTaskStates('slx')).toThrow(RangeError);
    expect(encodeTaskStates(['pending', 'live', 'succeeded', 'dead', 'cancelled', 'skipped'])).toBe('plsdck');
  });
});
