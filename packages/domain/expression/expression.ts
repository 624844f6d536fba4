import { Environment } from '@marcbachmann/cel-js';
import { toJson } from './json-value.ts';

/** The longest expression (characters). */
export const EXPRESSION_LENGTH_MAX = 1_000;
/** Parts of one expression, and how deep they lie within each other. */
const NODES_MAX = 200;
const DEPTH_MAX = 24;
/**
 * What one evaluation may cost: a unit for each part of the expression that is evaluated, for each value within what is compared,
 * for each element of a list that is gone through, and for each eight characters or elements that a part yields. All of it takes 20 to 60 ms; a filter over a thousand elements
 * takes a thirtieth.
 */
export const EXPRESSION_COST_MAX = 200_000;
const COST_UNIT_LENGTH = 8;
/** Of a call that asks for the calendar of a zone. */
const CALENDAR_COST = 500;

/**
 * Functions that are not to be had: regular expressions can take time that grows exponentially with the text, whatever bounds
 * the number of calls.
 */
const REFUSED_FUNCTIONS: ReadonlySet<string> = new Set(['matches']);

/**
 * What an expression may name. `item` and `index` are there for a task that runs once per element, `signal` and `timedOut` in the
 * action of one that waits for a signal.
 */
export interface ExpressionValues {
  input: unknown;
  inputs: Record<string, unknown>;
  item?: unknown;
  index?: number;
  /** Of a task that waited for a signal: its payload, or null; and whether it did not come in time. */
  signal?: unknown;
  timedOut?: boolean;
}

/** Says in one line why an expression can not be compiled or evaluated. */
export class ExpressionError extends Error {
  readonly code = 'PUNCTUAL_EXPRESSION';
  readonly isRetryable = false;

  constructor(message: string) {
    super(message.length > ERROR_LENGTH_MAX ? `${message.slice(0, ERROR_LENGTH_MAX)}…` : message);
    this.name = 'ExpressionError';
  }
}

/** Enough to tell the fault by; what is told may hold a key of somebody's data. */
const ERROR_LENGTH_MAX = 200;

const tooMuchTogether = () =>
  new ExpressionError('the expressions that are evaluated at once have too much to do together');
/**
 * Thrown wherever an evaluation has cost too much. Quantifiers swallow the errors of single elements and go on to the next: made
 * anew for each, with its stack, it would cost more than what it ends.
 */
const tooMuch = () => new ExpressionError('the expression has too much to do');
const TOO_MUCH = tooMuch();
TOO_MUCH.stack = '';

/** An expression that was found sound. */
export interface Expression {
  source: string;
  /** The tasks whose outputs it reads. */
  reads: readonly string[];
  readsInput: boolean;
  readsItem: boolean;
  /** Its value as JSON. Throws ExpressionError: a field that is not there, a type that does not fit, too much to do. */
  evaluate: (values: ExpressionValues, purse?: CostPurse) => unknown;
}

/** What several evaluations may cost together, in units of EXPRESSION_COST_MAX. Each takes what it cost. */
export interface CostPurse {
  left: number;
}

// A node of the library's syntax tree, as far as it is looked at here.
interface Node {
  op: string;
  args: unknown;
  meta: { alternate?: Node; macro?: { evaluate: Evaluate }; evaluate: Evaluate };
  evaluate: Evaluate;
}
type Evaluate = (evaluator: unknown, node: unknown, context: unknown) => unknown;

const LIMITS = {
  maxAstNodes: NODES_MAX,
  maxDepth: DEPTH_MAX,
  maxListElements: NODES_MAX,
  maxMapEntries: NODES_MAX,
  maxCallArguments: 8,
};

const MIXED_OPERATORS: Readonly<Record<string, (a: number, b: number) => number>> = {
  '+': (a, b) => a + b,
  '-': (a, b) => a - b,
  '*': (a, b) => a * b,
  '/': (a, b) => a / b,
  '%': (a, b) => a % b,
};

const outside = createEnvironment();
const inside = withItem(outside);
const afterSignal = withSignal(outside);
const insideAfterSignal = withItem(afterSignal);

function withItem(environment: Environment): Environment {
  return environment.clone().registerVariable('item', 'dyn').registerVariable('index', 'int');
}

function withSignal(environment: Environment): Environment {
  return environment.clone().registerVariable('signal', 'dyn').registerVariable('timedOut', 'bool');
}

function createEnvironment(): Environment {
  const environment = new Environment({
    homogeneousAggregateLiterals: false,
    enableOptionalTypes: true,
    limits: LIMITS,
  });
  environment.registerVariable('input', 'dyn').registerVariable('inputs', 'dyn');
  // Every number of JSON is a double, every literal without a point an int: people expect them to mix.
  for (const [operator, apply] of Object.entries(MIXED_OPERATORS)) {
    environment.registerOperator(`double ${operator} int`, (a: number, b: bigint) => apply(a, Number(b)));
    environment.registerOperator(`int ${operator} double`, (a: bigint, b: number) => apply(Number(a), b));
  }
  environment.registerOperator('double % double', (a: number, b: number) => a % b);
  return environment;
}

const compiled = new Map<string, Expression>();
/** Expressions kept compiled. Runs of one workflow share theirs. */
const COMPILED_MAX = 2_000;

/**
 * Compiles an expression of the Common Expression Language. `hasItem`: whether the task runs once per element; `hasSignal`:
 * whether the expression is evaluated after a signal was waited for. Throws ExpressionError: syntax, unknown names, size.
 */
export function compileExpression(source: string, hasItem: boolean, hasSignal = false): Expression {
  const name = `${hasItem ? 'i' : 'o'}${hasSignal ? 's' : 'n'}${source}`;
  let expression = compiled.get(name);
  if (!expression) {
    const environment = hasSignal ? (hasItem ? insideAfterSignal : afterSignal) : hasItem ? inside : outside;
    expression = compile(source, environment);
    if (compiled.size >= COMPILED_MAX) compiled.delete(compiled.keys().next().value!);
    compiled.set(name, expression);
  }
  return expression;
}

function compile(source: string, environment: Environment): Expression {
  if (source.length > EXPRESSION_LENGTH_MAX) {
    throw new ExpressionError(`the expression is longer than ${EXPRESSION_LENGTH_MAX} characters`);
  }
  if (source.trim() === '') throw new ExpressionError('the expression is empty');
  let run: ReturnType<Environment['parse']>;
  try {
    run = environment.parse(source);
    const check = run.check();
    if (!check.valid) throw check.error;
  } catch (error) {
    throw new ExpressionError(describe(error));
  }
  const seen = inspect(run.ast as unknown as Node);
  let left = 0;
  const spend = (cost: number) => {
    left -= cost;
    if (left < 0) throw TOO_MUCH;
  };
  const compared = new Set(
    [...seen.nodes].filter(({ op }) => COMPARISONS.has(op)).flatMap(({ args }) => args as Node[]),
  );
  const iterated = new Set([...seen.nodes].flatMap(({ meta }) => findIterable(meta.alternate) ?? []));
  for (const node of seen.nodes) meter(node, spend, { isCompared: compared.has(node), isIterated: iterated.has(node) });
  const evaluate = (values: ExpressionValues, purse: CostPurse = { left: EXPRESSION_COST_MAX }) => {
    const granted = Math.min(EXPRESSION_COST_MAX, purse.left);
    if (granted <= 0) throw tooMuchTogether();
    left = granted;
    let value: unknown;
    let fault: unknown;
    try {
      value = run({ ...values, ...(values.index !== undefined && { index: BigInt(values.index) }) });
    } catch (error) {
      fault = error;
    }
    purse.left -= granted - Math.max(left, 0);
    // A quantifier may have swallowed the error.
    if (left < 0) throw granted < EXPRESSION_COST_MAX ? tooMuchTogether() : tooMuch();
    if (fault !== undefined) throw new ExpressionError(describe(fault));
    return toJson(value, (fault) => new ExpressionError(fault));
  };
  const { reads, readsInput, readsItem } = seen;
  return { source, reads: [...reads], readsInput, readsItem, evaluate };
}

function describe(error: unknown): string {
  if (error instanceof ExpressionError) return error.message;
  const { summary, message } = error as { summary?: string; message: string };
  return summary ?? message.split('\n')[0]!;
}

/** What an expression names. `inputs` stands before the name of a task and nowhere else, so that it is known what is read. */
function inspect(root: Node) {
  const seen = { nodes: new Set<Node>(), reads: new Set<string>(), readsInput: false, readsItem: false };
  const visit = (part: unknown): void => {
    if (Array.isArray(part)) {
      part.forEach(visit);
      return;
    }
    if (part === null || typeof part !== 'object') return;
    const node = part as Node;
    if (typeof node.op !== 'string') {
      // The inner parts of a macro: plain objects that hold nodes.
      if (Object.getPrototypeOf(part) === Object.prototype) Object.values(part).forEach(visit);
      return;
    }
    if (seen.nodes.has(node)) return;
    seen.nodes.add(node);
    if (node.op === 'call' || node.op === 'rcall') {
      const [name] = node.args as [string];
      if (REFUSED_FUNCTIONS.has(name)) throw new ExpressionError(`there is no function "${name}" here`);
    }
    const key = readTaskName(node);
    if (key !== undefined) {
      seen.reads.add(key);
      seen.nodes.add((node.args as Node[])[0]!);
      if (node.op === '[]' || node.op === '[?]') visit((node.args as Node[])[1]);
    } else if (node.op === 'id') {
      if (node.args === 'inputs') {
        throw new ExpressionError(
          'inputs must be followed by the key of a task, as in inputs.split or inputs["split"]',
        );
      }
      if (node.args === 'input') seen.readsInput = true;
      if (node.args === 'item' || node.args === 'index') seen.readsItem = true;
    } else {
      visit(node.args);
    }
    visit(node.meta.alternate);
    visit(node.meta.macro);
  };
  visit(root);
  return seen;
}

/** The key in `inputs.key` or `inputs["key"]`. */
function readTaskName(node: Node): string | undefined {
  if (!['.', '.?', '[]', '[?]'].includes(node.op)) return undefined;
  const [left, right] = node.args as [Node, Node | string];
  if (left.op !== 'id' || left.args !== 'inputs') return undefined;
  if (typeof right === 'string') return right;
  return right.op === 'value' && typeof right.args === 'string' ? right.args : undefined;
}

const COMPARISONS: ReadonlySet<string> = new Set(['==', '!=', 'in']);
/** They make the lists that they yield; other parts only pass them on. */
const MAKERS: ReadonlySet<string> = new Set(['+', 'call', 'rcall', 'list']);

/** Has each evaluation of a part paid for. What is compared is looked through to its last leaf. */
function meter(
  node: Node,
  spend: (cost: number) => void,
  { isCompared, isIterated }: { isCompared: boolean; isIterated: boolean },
): void {
  const isMaker = MAKERS.has(node.op);
  const isCalendar = node.op === 'rcall' && /^get[A-Z]/.test((node.args as [string])[0]);
  // What the library's own method does, but that it would replace this one at its first call.
  node.evaluate = (evaluator, own, context) => {
    const { alternate, macro, evaluate } = node.meta;
    spend(isCalendar ? CALENDAR_COST : 1);
    const value = alternate
      ? alternate.evaluate(evaluator, alternate, context)
      : macro
        ? macro.evaluate(evaluator, macro, context)
        : evaluate(evaluator, own, context);
    if (typeof value === 'string') spend(value.length / COST_UNIT_LENGTH);
    else if (isMaker && Array.isArray(value)) spend(value.length / COST_UNIT_LENGTH);
    // Before the first element is looked at: none of them can be made to end the loop by an error.
    if (isIterated) spend(countElements(value));
    if (isCompared) spendOnLeaves(value, spend);
    return value;
  };
}

/** The list that a comprehension goes through. */
function findIterable(node: Node | undefined): Node | undefined {
  return node?.op === 'comprehension' ? (node.args as { iterable: Node }).iterable : undefined;
}

function countElements(value: unknown): number {
  if (Array.isArray(value)) return value.length;
  if (value instanceof Map) return value.size;
  return value !== null && typeof value === 'object' ? Object.keys(value).length : 0;
}

function spendOnLeaves(value: unknown, spend: (cost: number) => void): void {
  if (value === null || typeof value !== 'object') return;
  for (const inner of Object.values(value)) {
    spend(1);
    spendOnLeaves(inner, spend);
  }
}
