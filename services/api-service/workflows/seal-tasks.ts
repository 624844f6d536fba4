import type { WorkflowTask } from '@punctual/contracts';
import type { StoredTask } from '@punctual/database';
import {
  FAULTS_MAX,
  type Fault,
  hasMask,
  type Keyring,
  openAction,
  sealAction,
  UnreadableSecretError,
  validateTaskFlow,
} from '@punctual/domain';
import type { ApiContext } from '../context.ts';
import { refuseFaults } from '../plugins/problems.ts';
import { compileTask } from './compile-tasks.ts';
import { prefix } from './validate-tasks.ts';

/** Whether any of the tasks holds a mask in place of a secret. */
export function hasMasks(tasks: readonly WorkflowTask[]): boolean {
  return tasks.some(({ action }) => hasMask(action as StoredTask['action']));
}

/**
 * Tasks as they are stored, with sealed secrets. A mask keeps the secret of the task with the same key among `present`,
 * and templates in it stay templates.
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
  let hasKeptTemplates = false;
  const sealed = tasks.map((given, index) => {
    const { task } = compileTask(given);
    const stored = presentByKey.get(task.key);
    const at = pointer === '' ? '' : `${pointer}/${index}`;
    const { action, faults: own } = sealAction(task.action, {
      keyring: context.keyring,
      tenantId,
      stored: stored?.action,
    });
    if (own.length > 0) faults.push(...prefix(`${at}/action`, own));
    if (action === task.action) return task;
    if (own.length > 0 || !stored?.hasTemplates || !hasMask(task.action)) return { ...task, action };
    const found = compileKept(context.keyring, tenantId, { ...task, action });
    if (!found) faults.push({ pointer: `${at}/action/headers`, detail: KEPT_TEMPLATE_UNFIT });
    hasKeptTemplates = true;
    return { ...task, ...found };
  });
  // What kept templates read was not known when the flow was looked at.
  if (hasKeptTemplates && faults.length === 0) faults.push(...prefix(pointer, validateTaskFlow(sealed)));
  refuseFaults(faults.slice(0, FAULTS_MAX));
  return sealed;
}

// Says nothing of the secret.
const KEPT_TEMPLATE_UNFIT =
  'A secret that a mask keeps has a template that does not fit this task, or can not be read here: send it.';

/** What a task needs of others where masks keep secrets with templates in them. Undefined when those can not be compiled. */
function compileKept(keyring: Keyring, tenantId: string, task: StoredTask) {
  try {
    const opened = { ...task, action: openAction(task.action, tenantId, keyring) };
    const { task: compiled, faults } = compileTask(opened as WorkflowTask);
    if (faults.length > 0) return undefined;
    const { hasTemplates, reads } = compiled;
    return { action: task.action, ...(hasTemplates && { hasTemplates }), ...(reads && { reads }) };
  } catch (error) {
    if (error instanceof UnreadableSecretError) return undefined;
    throw error;
  }
}
