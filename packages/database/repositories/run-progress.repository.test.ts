import { beginTaskStates, createId, DEFAULT_TENANT_ID } from '@punctual/domain';
import { describe, expect, it } from 'vitest';
import type { NewTimer } from '../queries/new-timer-columns.ts';
import type { StoredTask } from '../workflow-versions.ts';
import { beginReadyTasks } from './run-progress.repository.ts';

const action = { type: 'noop' } as const;
const SKIPPED = {
  action,
  delay: { type: 'date', month: 1, day: 1, year: 2020, onPast: 'skip' },
} satisfies Partial<StoredTask>;
const name = (index: number) => `task-${index}`;
const repeat = (count: number, makeTask: (index: number) => StoredTask) =>
  Array.from({ length: count }, (_, index) => makeTask(index));

/** An array that counts how often its elements are read. */
function count<Item>(items: Item[]): { items: Item[]; readReads: () => number } {
  let reads = 0;
  const counted = new Proxy(items, {
    get(target, property, receiver) {
      if (typeof property === 'string' && /^\d+$/.test(property)) reads += 1;
      return Reflect.get(target, property, receiver);
    },
  });
  return { items: counted, readReads: () => reads };
}

/** Begins a run of these tasks. Returns how many were begun or skipped, and how much of tasks and states was looked at for it. */
function begin(tasks: StoredTask[]): { ended: number; begun: number; reads: number } {
  const countedTasks = count(tasks);
  const countedStates = count(beginTaskStates(tasks));
  const [timers, skipped]: [NewTimer[], NewTimer[]] = [[], []];
  beginReadyTasks(
    { id: createId(), tenant_id: DEFAULT_TENANT_ID, partition: 0, locked_at: Date.UTC(2026, 0, 1) },
    { workflowId: createId(), version: 1, name: 'test', timeZone: 'UTC', priority: null, tasks: countedTasks.items },
    countedStates.items,
    timers,
    skipped,
  );
  return { ended: skipped.length, begun: timers.length, reads: countedTasks.readReads() + countedStates.readReads() };
}

describe('unlocking tasks', () => {
  it.each([
    [
      'one after another, each skipped',
      (size: number) =>
        repeat(size, (index) => ({ key: name(index), ...SKIPPED, ...(index > 0 && { after: [name(index - 1)] }) })),
      (size: number) => ({ ended: size, begun: 0 }),
    ],
    [
      'one after another, each skipped, listed from the last to the first',
      (size: number) =>
        repeat(size, (index) => ({
          key: name(index),
          ...SKIPPED,
          ...(index > 0 && { after: [name(index - 1)] }),
        })).toReversed(),
      (size: number) => ({ ended: size, begun: 0 }),
    ],
    [
      'all behind one that is skipped',
      (size: number) =>
        repeat(size, (index) => ({ key: name(index), ...(index === 0 ? SKIPPED : { action, after: [name(0)] }) })),
      (size: number) => ({ ended: 1, begun: size - 1 }),
    ],
    [
      'one behind all others, which are skipped',
      (size: number) =>
        repeat(size, (index) => ({
          key: name(index),
          ...(index < size - 1 ? SKIPPED : { action, after: Array.from({ length: size - 1 }, (_, n) => name(n)) }),
        })),
      (size: number) => ({ ended: size - 1, begun: 1 }),
    ],
  ])('looks at ten times as much for ten times the tasks: %s', (_shape, makeTasks, expected) => {
    const [few, many] = [begin(makeTasks(100)), begin(makeTasks(1_000))];
    expect(few).toMatchObject(expected(100));
    expect(many).toMatchObject(expected(1_000));
    // Were each task looked at for each that is unlocked, this would be a hundred, as it was once.
    expect(many.reads / few.reads).toBeLessThan(20);
  });
});
