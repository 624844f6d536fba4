import { UsageError } from '@punctual/loadtest-command';
import { expect, test } from 'vitest';
import { readOptions, SCENARIO_NAMES, SCENARIOS } from './options.ts';

test('without arguments all scenarios run on a stack of their own, in under three minutes', () => {
  const options = readOptions([]);
  expect(options).toMatchObject({ schedulers: 1, workers: 1 });
  expect(options).not.toHaveProperty('url');
  expect(options?.scenarios.map(({ name }) => name)).toEqual(SCENARIO_NAMES);
  // Each scenario takes some ten seconds more, for the last timers and the proof.
  const seconds = SCENARIO_NAMES.reduce((sum, name) => sum + SCENARIOS[name].seconds + 10, 0);
  expect(seconds).toBeLessThan(180);
});

test('rate, duration and limits of a scenario can be chosen', () => {
  const args = ['soak', '--rate', '50', '--seconds', '3600', '--answer-ms', '100', '--lateness-ms', '300'];
  expect(readOptions(args)?.scenarios).toEqual([
    { name: 'soak', rate: 50, seconds: 3600, limits: { answerP95Ms: 100, latenessP95Ms: 300, driftMs: 250 } },
  ]);
});

test('the "--" that a package manager passes on is nothing', () => {
  expect(readOptions(['--', 'create'])?.scenarios).toHaveLength(1);
});

test('help is help, whatever else is asked for', () => {
  expect(readOptions(['create', '--help'])).toBeUndefined();
});

test.each([
  [['steady'], 'There is no scenario "steady"'],
  [['--rate', '0'], '--rate is a whole number from 1 to 5000'],
  [['--rate', '1.5'], '--rate is a whole number'],
  [['--seconds', '3'], '--seconds is a whole number from 4 to 86400'],
  [['soak', '--rate', '100', '--seconds', '86400'], 'more than 1000000 requests'],
  [['spike', '--rate', '2000', '--seconds', '100'], 'more than 1000000 requests'],
  [['--url', 'https://api.example.com'], 'on this machine'],
  [['--url', 'http://10.0.0.1:8088'], 'on this machine'],
  [['--url', 'http://127.0.0.1.example.com'], 'on this machine'],
  [['--url', 'localhost'], 'on this machine'],
  [['--url', 'http://localhost:8088', '--workers', '2'], 'are for a stack that is started here'],
  [['--key-file', 'key'], '--key-file goes with --url'],
])('%j is refused', (args, message) => {
  expect(() => readOptions(args)).toThrow(UsageError);
  expect(() => readOptions(args)).toThrow(message);
});

test.each(['http://127.0.0.1:8088/', 'http://127.0.0.1:8088/v1'])('%s is an api on this machine', (url) => {
  expect(readOptions(['--url', url])?.url).toBe('http://127.0.0.1:8088');
});

test('unknown options are refused', () => {
  expect(() => readOptions(['--fast'])).toThrow();
});
