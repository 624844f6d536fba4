import type { WorkflowTask } from '@punctual/contracts';
import type { StoredTask } from '@punctual/database';
import {
  type Action,
  compileAction,
  compileExpression,
  describeKey,
  ExpressionError,
  type Fault,
} from '@punctual/domain';

/** A task whose expressions were looked into. */
export interface CompiledTask {
  /** The task with what it was found to need of others. */
  task: StoredTask;
  /** What is wrong with its expressions; pointers are relative to it. */
  faults: Fault[];
  expressionCount: number;
  /** Its action with stand-ins in place of expressions. */
  checked: Action;
}

/** Looks into the expressions of a task. It is not known here whether the tasks that they name are there. */
export function compileTask(task: WorkflowTask): CompiledTask {
  const stored = task as StoredTask;
  const hasItem = stored.forEach !== undefined || stored.in !== undefined;
  const hasSignal = stored.delay?.type === 'signal';
  const { template, faults, expressionCount, checked } = compileAction(stored.action, hasItem, hasSignal);
  const reads = new Set(template?.reads);
  const all = faults.map((fault) => ({ ...fault, pointer: `/action${fault.pointer}` }));
  if (stored.when !== undefined) {
    try {
      for (const key of compileExpression(stored.when, hasItem).reads) reads.add(key);
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      all.push({ pointer: '/when', detail: error.message });
    }
  }
  let keyExpressionCount = 0;
  if (stored.concurrency) {
    try {
      const described = describeKey(stored.concurrency.key, hasItem);
      keyExpressionCount = described.expressionCount;
      for (const key of described.reads) reads.add(key);
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      all.push({ pointer: '/concurrency/key', detail: error.message });
    }
  }
  const found = {
    ...stored,
    ...(template && { hasTemplates: true }),
    ...(reads.size > 0 && { reads: [...reads].toSorted() }),
  };
  return { task: found, faults: all, expressionCount: expressionCount + keyExpressionCount, checked };
}
