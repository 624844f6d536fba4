import { ExpressionError, type ExpressionValues } from '../expression/expression.ts';
import { collectNeeds, parseTemplate, renderText, type Template } from '../expression/template.ts';

/** What a task or timer says of those that may be under way beside it. */
export interface Concurrency {
  /** Timers of a tenant with one key share a lane. Of a task it may hold expressions. */
  key: string;
  /** How many of the lane may run at once; 1 when it says neither this nor a rate, else any number. */
  limit?: number;
  /** How many of the lane may begin in any second. */
  ratePerSecond?: number;
}

/** A key as it is written, and as it is rendered (characters). */
export const CONCURRENCY_KEY_LENGTH_MAX = 200;
/** Timers that one lane may let run at once: each start of one counts those that do. */
export const LANE_LIMIT_MAX = 1_000;

/** A lane's rule, with what is not said filled in; null: unbounded. */
export interface LaneRule {
  limit: number | null;
  ratePerSecond: number | null;
}

export function completeLaneRule({ limit, ratePerSecond }: Omit<Concurrency, 'key'>): LaneRule {
  return { limit: limit ?? (ratePerSecond === undefined ? 1 : null), ratePerSecond: ratePerSecond ?? null };
}

/** How many expressions a task's key has, and the tasks whose outputs they read. Throws ExpressionError when one of them can not be. */
export function describeKey(key: string, hasItem: boolean): { expressionCount: number; reads: readonly string[] } {
  const template = parseTemplate(key, hasItem);
  if (!template) return { expressionCount: 0, reads: [] };
  return {
    expressionCount: template.parts.filter((part) => typeof part === 'object').length,
    reads: collectNeeds(template).reads,
  };
}

/** Whether a key can be told from the input of the run alone. */
function readsInputOnly(template: Template): boolean {
  const { reads, readsItem } = collectNeeds(template);
  return reads.length === 0 && !readsItem;
}

/**
 * The key of a task of a run that was begun with `input`, as far as that tells it; undefined when outputs or elements of the run
 * have to be asked. Throws ExpressionError when it can not be told, or would be empty or too long.
 */
export function renderFirstKey(key: string, input: ExpressionValues['input']): string | undefined {
  const template = parseTemplate(key, true);
  if (!template) return key;
  if (!readsInputOnly(template)) return undefined;
  return checkRenderedKey(renderText(template, { input, inputs: {} }, (value) => value));
}

/** A key as its expressions gave it. Throws ExpressionError when it is empty or too long. */
export function checkRenderedKey(rendered: string): string {
  if (rendered === '') throw new ExpressionError('the key would be empty');
  if (rendered.length > CONCURRENCY_KEY_LENGTH_MAX) {
    throw new ExpressionError(`the key would be longer than ${CONCURRENCY_KEY_LENGTH_MAX} characters`);
  }
  if (rendered.includes('\0')) throw new ExpressionError('the key would hold a character that can not be stored');
  return rendered;
}
