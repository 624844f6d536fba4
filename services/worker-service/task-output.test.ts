import { compileExpression, VALUE_DEPTH_MAX } from '@punctual/domain';
import { describe, expect, it } from 'vitest';
import { readOutput } from './task-output.ts';

const nest = (depth: number) => `${'['.repeat(depth)}1${']'.repeat(depth)}`;

describe('the output of a task', () => {
  it('is nested as deeply as an expression can pass on, and no deeper', () => {
    const output = readOutput(nest(VALUE_DEPTH_MAX));
    expect(output).toBe(nest(VALUE_DEPTH_MAX));
    const pass = (text: string) =>
      compileExpression('inputs.a', false).evaluate({ input: null, inputs: { a: JSON.parse(text) } });
    expect(JSON.stringify(pass(output!))).toBe(output);
    expect(readOutput(nest(VALUE_DEPTH_MAX + 1))).toBeUndefined();
    for (const tooDeep of [
      nest(VALUE_DEPTH_MAX + 1),
      `${'['.repeat(VALUE_DEPTH_MAX + 1)}${']'.repeat(VALUE_DEPTH_MAX + 1)}`,
    ]) {
      expect(() => pass(tooDeep)).toThrow(/too large/);
    }
  });
});
