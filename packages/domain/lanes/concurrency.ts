import { ExpressionError, type ExpressionValues } from '../expression/expression.ts';
import { collectNeeds, parseTemplate, renderText, type Template } from '../expression/template.ts';

/** What a task or timer says of those that may be under way beside it. */
export interface Concurrency {
  /** Timers of a tenant with one key share a lane. Of a task it may hold expressions, which read the run's input. */
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

const KEY_READS_INPUT_ONLY = 'a key may read the input of the run, and nothing else';

/** Reads a task's key; undefined when nothing in it is to be rendered. Throws ExpressionError. */
function parseKey(key: string): Template | undefined {
  const template = parseTemplate(key, false);
  if (template && collectNeeds(template).reads.length > 0) throw new ExpressionError(KEY_READS_INPUT_ONLY);
  return template;
}

/** How many expressions a task's key has. Throws ExpressionError when one of them can not be. */
export function countKeyExpressions(key: string): number {
  return parseKey(key)?.parts.filter((part) => typeof part === 'object').length ?? 0;
}

/** The key of a run that was begun with `input`. Throws ExpressionError when it can not be told, or would be empty or too long. */
export function renderKey(key: string, input: ExpressionValues['input']): string {
  const template = parseKey(key);
  if (!template) return key;
  const rendered = renderText(template, { input, inputs: {} }, (value) => value);
  if (rendered === '') throw new ExpressionError('the key would be empty');
  if (rendered.length > CONCURRENCY_KEY_LENGTH_MAX) {
    throw new ExpressionError(`the key would be longer than ${CONCURRENCY_KEY_LENGTH_MAX} characters`);
  }
  if (rendered.includes('\0')) throw new ExpressionError('the key would hold a character that can not be stored');
  return rendered;
}
