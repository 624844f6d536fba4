import { describe, expect, it } from 'vitest';
import type { Action } from '../timer.ts';
import { compileAction, EXPRESSIONS_PER_ACTION_MAX } from './action-template.ts';
import type { ExpressionValues } from './expression.ts';

const values = (fields: Partial<ExpressionValues> = {}): ExpressionValues => ({ input: {}, inputs: {}, ...fields });
const http = (fields: Partial<Extract<Action, { type: 'http' }>>): Action => ({
  type: 'http',
  url: 'https://h.example/p',
  ...fields,
});
const render = (action: Action, input: unknown) => {
  const { template, faults } = compileAction(action, false);
  expect(faults).toEqual([]);
  return template!.render(values({ input }));
};

describe('the templates of an action', () => {
  it('are none where there are no double braces, and then nothing is copied', () => {
    const action = http({ body: { a: '{ b }' } });
    expect(compileAction(action, false)).toMatchObject({ template: undefined, faults: [], checked: action });
  });

  it('keep the type of a value that stands alone in a string of the body, and write others as text', () => {
    const body = {
      '{{ key }}': 1,
      all: '{{ input }}',
      n: '{{input.n}}',
      text: 'n={{ input.n }}, {{ input.yes }}',
      none: '{{ input.none }}',
    };
    const input = { n: 2, yes: true, none: null };
    expect(render(http({ body }), input)).toMatchObject({
      body: { '{{ key }}': 1, all: input, n: 2, text: 'n=2, true', none: null },
    });
  });

  it('may hold braces of their own, and two braces as text', () => {
    const body = { a: '{{ {"b": {"c": "}}"}} }}', d: '{{ "{{" }}x' };
    expect(render(http({ body }), {})).toMatchObject({ body: { a: { b: { c: '}}' } }, d: '{{x' } });
  });

  it.each([
    ['a/b', 'a%2Fb'],
    ['a?b#c', 'a%3Fb%23c'],
    ['@evil.example', '%40evil.example'],
    ['é ü', '%C3%A9%20%C3%BC'],
    ['\r\nx: y', '%0D%0Ax%3A%20y'],
    ['\\..\\', '%5C..%5C'],
  ])('percent-encode values in a URL: %s', (name, encoded) => {
    const action = http({ url: 'https://h.example/p/{{ input.name }}/x?q={{ input.name }}' });
    expect(render(action, { name })).toMatchObject({ url: `https://h.example/p/${encoded}/x?q=${encoded}` });
  });

  it.each(['.', '..'])('refuse a value that would be another path: %s', (name) => {
    const { template } = compileAction(http({ url: 'https://h.example/a/{{ input.name }}/b' }), false);
    expect(() => template!.render(values({ input: { name } }))).toThrow(/path/);
  });

  it.each([
    '{{ input.url }}',
    'https://{{ input.host }}/p',
    'https://h.example{{ input.more }}/p',
    'https://h.example:{{ input.port }}/p',
    '{{ input.scheme }}://h.example/p',
    'https:\\\\{{ input.host }}/',
    'https://h.example\\{{ input.x }}/p',
  ])('are refused in scheme, host and port: %s', (url) => {
    expect(compileAction(http({ url }), false).faults).toContainEqual({
      pointer: '/url',
      detail: 'Scheme, host and port must not come from an expression.',
    });
  });

  it('never let a header value begin another header', () => {
    const { template } = compileAction(http({ headers: { 'x-a': '{{ input.a }}' } }), false);
    for (const a of ['1\r\nx-b: 2', '1\n2', '\u0000', 'é', ' x']) {
      expect(() => template!.render(values({ input: { a } })), JSON.stringify(a)).toThrow(/header x-a/);
    }
    expect(template!.render(values({ input: { a: 'ok' } }))).toMatchObject({ headers: { 'x-a': 'ok' } });
  });

  it('point at what is wrong with them', () => {
    const action = http({
      url: 'https://h.example/{{ input. }}',
      headers: { 'x/y': '{{ nobody }}' },
      body: [{ 'a~b': '{{ 1 + }}' }, '{{ open'],
    });
    expect(compileAction(action, false).faults).toEqual([
      { pointer: '/url', detail: expect.any(String) },
      { pointer: '/headers/x~1y', detail: expect.stringContaining('nobody') },
      { pointer: '/body/0/a~0b', detail: expect.any(String) },
      { pointer: '/body/1', detail: '{{ has no }}' },
    ]);
  });

  it('are not more than can be compiled in a moment', () => {
    const body = Array.from({ length: EXPRESSIONS_PER_ACTION_MAX + 50 }, (_, n) => `{{ ${n} }}`);
    expect(compileAction(http({ body }), false).faults).toEqual([
      { pointer: `/body/${EXPRESSIONS_PER_ACTION_MAX}`, detail: expect.stringContaining('more than 200') },
    ]);
    expect(compileAction(http({ body: body.slice(0, EXPRESSIONS_PER_ACTION_MAX) }), false).faults).toEqual([]);
  });

  it('become a megabyte together at most, wherever they stand and of whatever type they are', () => {
    const input = { text: 'x'.repeat(400_000), list: ['y'.repeat(300_000), 'z'.repeat(100_000)], small: 1 };
    const tooMuch = /would be more than 1048576 characters together/;
    const bodies: unknown[] = [
      ['{{ input.text }}', '{{ input.text }}', '{{ input.text }}'],
      ['{{ input.list }}', { a: '{{ input.list }}' }, '{{ input.list }}'],
      ['{{ input.text }}', 'of {{ input.text }}', '{{ input.list }}'],
      // A value that holds the same many times would be longer than any text can be.
      Array.from({ length: 200 }, () => '{{ [input, input, input, input, input, input, input, input, input, input] }}'),
    ];
    for (const body of bodies) {
      for (const action of [http({ body }), { type: 'noop', output: body } as Action]) {
        const { template } = compileAction(action, false);
        expect(() => template!.render(values({ input }))).toThrow(tooMuch);
      }
    }
    expect(render(http({ body: ['{{ input.text }}', '{{ input.list }}', '{{ input.small }}'] }), input)).toMatchObject({
      body: [input.text, input.list, 1],
    });
    const spread = http({
      url: 'https://h.example/{{ input.text }}',
      body: ['{{ input.text }}', '{{ input.text }}'],
    });
    expect(() => compileAction(spread, false).template!.render(values({ input }))).toThrow(tooMuch);
  });

  it('refuse null, lists and objects within a text', () => {
    for (const [input, kind] of [
      [{ v: null }, 'null'],
      [{ v: [1] }, 'a list'],
      [{ v: {} }, 'an object'],
    ] as const) {
      const { template } = compileAction(http({ url: 'https://h.example/{{ input.v }}' }), false);
      expect(() => template!.render(values({ input }))).toThrow(`is ${kind}`);
    }
  });
});
