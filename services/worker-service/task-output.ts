import type { AttemptResult } from '@punctual/database';
import { OUTPUTS_PER_RUN_MAX, VALUE_DEPTH_MAX } from '@punctual/domain';

/**
 * An answer as the output of a task: its JSON, written as short as can be. Undefined when it is no JSON, or nested more deeply
 * than an expression could pass it on.
 */
export function readOutput(text: string): string | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  return isTooDeep(value, 0) ? undefined : JSON.stringify(value);
}

function isTooDeep(value: unknown, depth: number): boolean {
  if (value === null || typeof value !== 'object') return false;
  return depth >= VALUE_DEPTH_MAX || Object.values(value).some((inner) => isTooDeep(inner, depth + 1));
}

/** A result whose output is more than all those of a run may be: then the task has failed. */
export function limitOutput(result: AttemptResult): AttemptResult {
  if (result.output === undefined || result.output.length <= OUTPUTS_PER_RUN_MAX) return result;
  return {
    ...result,
    outcome: 'permanent',
    error: `The output is larger than ${OUTPUTS_PER_RUN_MAX} characters.`,
    output: undefined,
  };
}

/** A result whose output nobody needs. */
export function withoutOutput(result: AttemptResult): AttemptResult {
  return result.output === undefined ? result : { ...result, output: undefined };
}
