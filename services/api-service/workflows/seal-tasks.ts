import type { WorkflowTask } from '@punctual/contracts';
import type { StoredTask } from '@punctual/database';
import { FAULTS_MAX, type Fault, hasMask, sealAction } from '@punctual/domain';
import type { ApiContext } from '../context.ts';
import { refuseFaults } from '../plugins/problems.ts';
import { prefix } from './validate-tasks.ts';

/** Whether any of the tasks holds a mask in place of a secret. */
export function hasMasks(tasks: readonly WorkflowTask[]): boolean {
  return tasks.some(({ action }) => hasMask(action as StoredTask['action']));
}

/**
 * Tasks as they are stored, with sealed secrets. A mask keeps the secret of the task with the same key among `present`.
 * Throws a 400 whose pointers begin with `pointer` and the task's place; for a task alone, by an empty `pointer`, with neither.
 */
export function sealTasks(
  context: Pick<ApiContext, 'keyring'>,
  tenantId: string,
  tasks: readonly WorkflowTask[],
  present: readonly StoredTask[],
  pointer = '/tasks',
): StoredTask[] {
  const presentByKey = new Map(present.map((task) => [task.key, task]));
  const faults: Fault[] = [];
  const sealed = (tasks as readonly StoredTask[]).map((task, index) => {
    const stored = presentByKey.get(task.key)?.action;
    const { action, faults: own } = sealAction(task.action, { keyring: context.keyring, tenantId, stored });
    if (own.length > 0) faults.push(...prefix(pointer === '' ? '/action' : `${pointer}/${index}/action`, own));
    return action === task.action ? task : { ...task, action };
  });
  refuseFaults(faults.slice(0, FAULTS_MAX));
  return sealed;
}
