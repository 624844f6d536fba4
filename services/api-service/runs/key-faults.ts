import type { StoredTask } from '@punctual/database';
import { ExpressionError, FAULTS_MAX, type Fault, renderFirstKey } from '@punctual/domain';

/**
 * The concurrency keys that read nothing but `input` (JSON text) and that it does not give; `pointer` is where that stands in the
 * request.
 */
export function findKeyFaults(tasks: readonly StoredTask[], input: string | null, pointer: string): Fault[] {
  const faults: Fault[] = [];
  let value: unknown;
  for (const { key, concurrency } of tasks) {
    if (!concurrency?.key.includes('{{')) continue;
    value ??= input === null ? null : JSON.parse(input);
    try {
      renderFirstKey(concurrency.key, value);
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      faults.push({ pointer, detail: `The concurrency key of the task "${key}": ${error.message}` });
    }
  }
  return faults.slice(0, FAULTS_MAX);
}
