import {
  type CostPurse,
  compileExpression,
  type Expression,
  ExpressionError,
  type ExpressionValues,
} from './expression.ts';

const OPENING = '{{';
const CLOSING = '}}';
/** Expressions in one text. A text is a URL, a header or a string of a body. */
export const EXPRESSIONS_PER_TEXT_MAX = 50;
/**
 * What the expressions of one action may become together, with the texts that they stand in (characters, before JSON escapes any):
 * as large as a body may be. Many expressions may name the same large value.
 */
export const RENDERED_LENGTH_MAX = 1_048_576;

/** What is left for the texts and values of one action. */
export interface RenderBudget {
  left: number;
}

export function createRenderBudget(): RenderBudget {
  return { left: RENDERED_LENGTH_MAX };
}

function spend(budget: RenderBudget, length: number): void {
  budget.left -= length;
  if (budget.left < 0) {
    throw new ExpressionError(`what is rendered would be more than ${RENDERED_LENGTH_MAX} characters together`);
  }
}

/** Pays for a value as if it were written as JSON, and stops where that is too much: it may hold the same part many times. */
function spendOnValue(budget: RenderBudget, value: unknown): void {
  if (typeof value === 'string') spend(budget, value.length + 2);
  else if (value === null || typeof value !== 'object') spend(budget, String(value).length);
  else {
    const isList = Array.isArray(value);
    for (const [key, inner] of Object.entries(value)) {
      spend(budget, isList ? 1 : key.length + 4);
      spendOnValue(budget, inner);
    }
    spend(budget, 2);
  }
}

/** A text with expressions in it. */
export interface Template {
  parts: readonly (string | Expression)[];
}

/** Whether a text could hold an expression. */
export function hasOpening(text: string): boolean {
  return text.includes(OPENING);
}

/** Reads the expressions in a text; undefined when there is none. Throws ExpressionError. */
export function parseTemplate(text: string, hasItem: boolean, hasSignal = false): Template | undefined {
  if (!hasOpening(text)) return undefined;
  const parts: (string | Expression)[] = [];
  let at = 0;
  for (let open = text.indexOf(OPENING); open !== -1; open = text.indexOf(OPENING, at)) {
    if (open > at) parts.push(text.slice(at, open));
    const close = findClosing(text, open + OPENING.length);
    if (close === -1) throw new ExpressionError('{{ has no }}');
    if (parts.length > EXPRESSIONS_PER_TEXT_MAX * 2) {
      throw new ExpressionError(`there are more than ${EXPRESSIONS_PER_TEXT_MAX} expressions in one text`);
    }
    parts.push(compileExpression(text.slice(open + OPENING.length, close).trim(), hasItem, hasSignal));
    at = close + CLOSING.length;
  }
  if (at < text.length) parts.push(text.slice(at));
  return { parts };
}

/** What the expressions of a template read, together. */
export function collectNeeds({ parts }: Template): { reads: string[]; readsInput: boolean; readsItem: boolean } {
  const expressions = parts.filter((part) => typeof part === 'object');
  return {
    reads: [...new Set(expressions.flatMap(({ reads }) => reads))],
    readsInput: expressions.some(({ readsInput }) => readsInput),
    readsItem: expressions.some(({ readsItem }) => readsItem),
  };
}

/** Where the expression ends: braces of its own, and those in its strings, do not count. */
function findClosing(text: string, from: number): number {
  let depth = 0;
  let quote = '';
  for (let at = from; at < text.length; at += 1) {
    const letter = text[at]!;
    if (quote !== '') {
      if (letter === '\\') at += 1;
      else if (letter === quote) quote = '';
    } else if (letter === '"' || letter === "'") quote = letter;
    else if (letter === '{') depth += 1;
    else if (letter === '}') {
      if (depth === 0) return text[at + 1] === '}' ? at : -1;
      depth -= 1;
    }
  }
  return -1;
}

/** The text with the values of its expressions, each written by `write`. Throws ExpressionError. */
export function renderText(
  template: Template,
  values: ExpressionValues,
  write: (value: string) => string,
  budget = createRenderBudget(),
  purse?: CostPurse,
): string {
  let text = '';
  for (const part of template.parts) {
    const next = typeof part === 'string' ? part : write(toText(part, part.evaluate(values, purse)));
    spend(budget, next.length);
    text += next;
  }
  return text;
}

/** The value of a template: of one that is a single expression and nothing else, of its own type. */
export function renderValue(template: Template, values: ExpressionValues, budget: RenderBudget): unknown {
  const [only] = template.parts;
  if (template.parts.length !== 1 || typeof only !== 'object') {
    return renderText(template, values, (value) => value, budget);
  }
  const value = only.evaluate(values);
  spendOnValue(budget, value);
  return value;
}

function toText(expression: Expression, value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  const kind = value === null ? 'null' : Array.isArray(value) ? 'a list' : 'an object';
  throw new ExpressionError(`{{ ${expression.source} }} is ${kind}, which can not stand within a text`);
}
