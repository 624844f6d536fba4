import { readOnTimeout } from '@punctual/domain';
import type { StoredTask } from './workflow-versions.ts';

/**
 * The queue in which workers of the customer find a task's timer; null: one of ours sees to it. That is so, too, while the task
 * waits for a signal whose time-out ends it: it ends then, whether or not somebody looks into the queue.
 */
export function choosePullQueue({ action, delay }: Pick<StoredTask, 'action' | 'delay'>, waitsFor: string | null) {
  if (action.type !== 'pull') return null;
  return waitsFor !== null && readOnTimeout(delay) === 'fail' ? null : action.queue;
}
