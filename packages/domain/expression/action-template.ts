import { validateActionHeaders } from '../egress/action-headers.ts';
import type { Fault } from '../fault.ts';
import type { Action } from '../timer.ts';
import { type Expression, ExpressionError, type ExpressionValues } from './expression.ts';
import {
  collectNeeds,
  createRenderBudget,
  hasOpening,
  parseTemplate,
  type RenderBudget,
  renderText,
  renderValue,
  type Template,
} from './template.ts';

/** An action with templates in it, compiled. */
export interface ActionTemplate {
  reads: readonly string[];
  readsInput: boolean;
  readsItem: boolean;
  /** The action with the values in place. Throws ExpressionError; the message names the place. */
  render: (values: ExpressionValues) => Action;
}

/** Stands for the value of an expression where a URL is checked before there are values. */
const STAND_IN = 'x';
/** Scheme, host and port, and the first character that is none of them. */
const WHOLE_ORIGIN = /^https?:\/\/[^/?#\\\s]+[/?#]/i;

/** Expressions in one action, and in all tasks of a workflow: each takes some time to compile, wherever the action is met. */
export const EXPRESSIONS_PER_ACTION_MAX = 200;
export const EXPRESSIONS_PER_WORKFLOW_MAX = 5_000;

/** An action with the faults of its templates; pointers are relative to the action. */
export interface CompiledAction {
  /** Undefined when there are no templates in it. */
  template: ActionTemplate | undefined;
  faults: Fault[];
  expressionCount: number;
  /** The action as it can be checked like any other: stand-ins in place of expressions. */
  checked: Action;
}

/** Compiles the templates in an action. `hasItem`: whether its task runs once per element; `hasSignal`: whether it waits for a signal. */
export function compileAction(action: Action, hasItem: boolean, hasSignal = false): CompiledAction {
  const faults: Fault[] = [];
  const expressions: Expression[] = [];
  let isFull = false;
  const compile = (text: string, pointer: string): Template | undefined => {
    if (isFull || !hasOpening(text)) return undefined;
    try {
      const template = parseTemplate(text, hasItem, hasSignal);
      for (const part of template?.parts ?? []) if (typeof part === 'object') expressions.push(part);
      if (expressions.length > EXPRESSIONS_PER_ACTION_MAX) {
        isFull = true;
        throw new ExpressionError(`there are more than ${EXPRESSIONS_PER_ACTION_MAX} expressions in one action`);
      }
      return template;
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      faults.push({ pointer, detail: error.message });
      return undefined;
    }
  };
  const finish = (checked: Action, render: ActionTemplate['render']): CompiledAction => ({
    template: expressions.length === 0 ? undefined : { ...collectNeeds({ parts: expressions }), render },
    faults,
    expressionCount: expressions.length,
    checked,
  });
  if (action.type === 'pull') return finish(action, () => action);
  if (action.type === 'noop') {
    const output = compileJson(action.output, '/output', compile);
    return finish(action, (values) => ({ ...action, output: output(values, createRenderBudget()) }));
  }
  const url = compile(action.url, '/url');
  if (url && !WHOLE_ORIGIN.test(action.url.slice(0, action.url.indexOf('{{')))) {
    faults.push({ pointer: '/url', detail: 'Scheme, host and port must not come from an expression.' });
  }
  const headers = new Map<string, Template>();
  for (const [name, value] of Object.entries(action.headers ?? {})) {
    const template = compile(value, `/headers/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`);
    if (template) headers.set(name, template);
  }
  const body = action.body === undefined ? undefined : compileJson(action.body, '/body', compile);
  const checked: Action = {
    ...action,
    ...(url && { url: url.parts.map((part) => (typeof part === 'string' ? part : STAND_IN)).join('') }),
    ...(headers.size > 0 && { headers: fillHeaders(action.headers!, headers, () => STAND_IN) }),
  };
  return finish(checked, (values) => {
    const budget = createRenderBudget();
    return {
      ...action,
      ...(url && { url: at('url', () => renderUrl(url, values, budget)) }),
      ...(headers.size > 0 && { headers: renderHeaders(action.headers!, headers, values, budget) }),
      ...(body && { body: at('body', () => body(values, budget)) }),
    };
  });
}

/** Adds to what went wrong in which part of the action it did. */
function at<Value>(place: string, render: () => Value): Value {
  try {
    return render();
  } catch (error) {
    if (error instanceof ExpressionError) throw new ExpressionError(`${place}: ${error.message}`);
    throw error;
  }
}

function fillHeaders(
  headers: Readonly<Record<string, string>>,
  templates: ReadonlyMap<string, Template>,
  fill: (template: Template, name: string) => string,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => {
      const template = templates.get(name);
      return [name, template ? fill(template, name) : value];
    }),
  );
}

function renderHeaders(
  headers: Readonly<Record<string, string>>,
  templates: ReadonlyMap<string, Template>,
  values: ExpressionValues,
  budget: RenderBudget,
): Record<string, string> {
  const rendered = fillHeaders(headers, templates, (template, name) =>
    at(`header ${name}`, () => renderText(template, values, (value) => value, budget)),
  );
  // A line break in a value would begin another header.
  const [fault] = validateActionHeaders(rendered);
  if (fault) throw new ExpressionError(`header${fault.pointer.replace('/', ' ')}: ${fault.detail}`);
  return rendered;
}

// `.` and `..`, however they are written, would lead to another path than the one that was approved.
const DOT_SEGMENT = /^(?:\.|%2e){1,2}$/i;

function renderUrl(template: Template, values: ExpressionValues, budget: RenderBudget): string {
  const write = (value: string) => {
    try {
      return encodeURIComponent(value);
    } catch {
      throw new ExpressionError('a value is no Unicode text');
    }
  };
  const url = renderText(template, values, write, budget);
  const path = url.replace(/^https?:\/\/[^/?#]*/i, '').split(/[?#]/, 1)[0]!;
  if (path.split('/').some((segment) => DOT_SEGMENT.test(segment))) {
    throw new ExpressionError('a part of the path would be "." or ".."');
  }
  return url;
}

type RenderJson = (values: ExpressionValues, budget: RenderBudget) => unknown;

/** Any JSON with templates in its strings, keys left as they are. What has none is not copied. */
function compileJson(
  value: unknown,
  pointer: string,
  compile: (text: string, pointer: string) => Template | undefined,
): RenderJson {
  if (typeof value === 'string') {
    const template = hasOpening(value) ? compile(value, pointer) : undefined;
    return template ? (values, budget) => renderValue(template, values, budget) : () => value;
  }
  if (value === null || typeof value !== 'object' || !hasOpening(JSON.stringify(value))) return () => value;
  if (Array.isArray(value)) {
    const elements = value.map((element, index) => compileJson(element, `${pointer}/${index}`, compile));
    return (values, budget) => elements.map((render) => render(values, budget));
  }
  const fields = Object.entries(value).map(
    ([key, inner]) =>
      [key, compileJson(inner, `${pointer}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`, compile)] as const,
  );
  return (values, budget) => Object.fromEntries(fields.map(([key, render]) => [key, render(values, budget)]));
}
