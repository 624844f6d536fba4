import { describe, expect, it } from 'vitest';
import { compileExpression, EXPRESSION_LENGTH_MAX, type ExpressionValues } from './expression.ts';

const values: ExpressionValues = {
  input: {
    n: 1,
    text: 'x',
    nothing: null,
    list: Array.from({ length: 10_000 }, (_, id) => ({ id })),
    big: 'y'.repeat(60_000),
  },
  inputs: { split: { items: [1, 2, 3] }, 'a.b-c': [true] },
  item: { id: 7 },
  index: 3,
};
const evaluate = (source: string) => compileExpression(source, true).evaluate(values);

describe('an expression', () => {
  it.each([
    ['input.n + 1', 2],
    ['input.n * 2.5', 2.5],
    ['7 / 2', 3],
    ['input.n / 2', 0.5],
    ['inputs.split.items.map(x, x * 2)', [2, 4, 6]],
    ['inputs["a.b-c"][0]', true],
    ['item.id + index', 10],
    ['input.?missing.orValue("none")', 'none'],
    ['has(input.missing)', false],
    ['input.nothing == null', true],
    ['input.n > 0 ? "some" : "none"', 'some'],
    ['{"id": item.id, "list": [1, "a", null]}', { id: 7, list: [1, 'a', null] }],
    ['input.list.filter(x, x.id > 9997).map(x, x.id)', [9998, 9999]],
    ['timestamp("2026-01-01T00:00:00Z")', '2026-01-01T00:00:00.000Z'],
  ])('yields JSON: %s', (source, value) => {
    expect(evaluate(source)).toEqual(value);
  });

  it('tells which outputs it reads, and whether it reads the input or the element', () => {
    const seen = compileExpression('has(inputs.a.x) && inputs["b c"].all(x, x > inputs.d.n) || input.n == 1', true);
    expect(seen).toMatchObject({ reads: ['a', 'b c', 'd'], readsInput: true, readsItem: false });
    expect(compileExpression('index + 1', true)).toMatchObject({ reads: [], readsInput: false, readsItem: true });
  });

  it.each([
    ['input.n +', /Unexpected token/],
    ['', /empty/],
    ['other.n', /Unknown variable: other/],
    ['process.exit(1)', /Unknown variable|found no matching overload/i],
    ['fetch("http://a")', /overload|function/i],
    ['inputs', /followed by the key of a task/],
    ['inputs[input.text]', /followed by the key of a task/],
    ['input.text.matches("(a+)+$")', /no function "matches"/],
    ['"text" + 1', /overload|Operator/],
    [`"${'x'.repeat(EXPRESSION_LENGTH_MAX)}"`, /longer than/],
    [`${'('.repeat(100)}1${')'.repeat(100)}`, /depth/i],
    [`[${'1,'.repeat(300)}1]`, /limit|maxAstNodes|elements/i],
  ])('is refused before it is ever evaluated: %s', (source, fault) => {
    expect(() => compileExpression(source, true)).toThrow(fault);
  });

  it('knows an element only in a task that has one', () => {
    expect(() => compileExpression('item.id', false)).toThrow(/Unknown variable: item/);
    expect(() => compileExpression('index', false)).toThrow(/Unknown variable: index/);
  });

  it.each([
    ['input.missing.deep', /No such key: missing/],
    ['input.constructor', /No such key/],
    ['input.__proto__', /No such key/],
    ['input["constructor"]["constructor"]', /No such key/],
    ['item.id + input.text', /no such overload/],
    ['1 / 0', /zero/],
    ['1.0 / 0.0', /no number/],
    ['9223372036854775807', /no number/],
    ['b"bytes"', /of a type that JSON has not/],
    ['type(1)', /of a type that JSON has not/],
    ['duration("1h")', /of a type that JSON has not/],
  ])('says in a line why it has no value: %s', (source, fault) => {
    expect(() => evaluate(source)).toThrow(fault);
  });

  // Each of these would take minutes, or all memory, were parts not paid for. An upgrade of the library must keep them so.
  it.each([
    'input.all(x, x > 0)',
    'input.exists(x, x < 0)',
    'input.exists_one(x, x < 0)',
    'input.map(x, x + 1).size() > 0',
    'input.filter(x, x < 0).size() > 0',
    '[1, 2, 3].all(y, input.all(x, x > 0))',
    'input.all(x, false) || input.all(x, true)',
  ])('is given up at once when a list is too long to be gone through: %s', (source) => {
    const { evaluate: run } = compileExpression(source, false);
    const input = Array.from({ length: 500_000 }, () => 1);
    const beganAt = performance.now();
    expect(() => run({ input, inputs: {} })).toThrow(/too much to do/);
    expect(performance.now() - beganAt).toBeLessThan(500);
  });

  it('pays for the keys of an object as for the elements of a list', () => {
    const input = Object.fromEntries(Array.from({ length: 250_000 }, (_, n) => [n, 1]));
    const { evaluate: run } = compileExpression('input.exists(x, x == "none")', false);
    expect(() => run({ input, inputs: {} })).toThrow(/too much to do/);
  });

  it.each([
    'input.list.exists(x, input.list.exists(y, y.id == -1))',
    'input.list.all(x, input.list.all(y, input.list.all(z, true)))',
    'input.list.map(x, input.big).join("").size()',
    'input.list.all(x, input == input)',
    'input.list.all(x, input.big + "a" != input.big + "b")',
    'input.list.all(x, input.big.lowerAscii() != "")',
    `[input.list]${'.map(a, a+a+a+a)'.repeat(9)}.size()`,
    `[input.big]${'.map(a, a+a+a+a)'.repeat(9)}.size()`,
    `cel.bind(a, input.list, ${'cel.bind(a, a+a+a+a, '.repeat(7)}a.size()${')'.repeat(8)}`,
    'input.list.map(x, timestamp("2026-01-01T00:00:00Z").getHours("Europe/Paris")).size()',
    'input.list.all(x, input.list.map(y, y.id).size() == 10000) || true',
  ])('is given up when it has too much to do: %s', (source) => {
    const beganAt = performance.now();
    expect(() => evaluate(source)).toThrow(/too much to do/);
    expect(performance.now() - beganAt).toBeLessThan(5_000);
  });
});
