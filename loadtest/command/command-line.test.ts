import { afterEach, expect, test, vi } from 'vitest';
import { openCommand, readWholeNumber, UsageError } from './command-line.ts';

afterEach(() => vi.restoreAllMocks());

test('a whole number within its limits is read, anything else is refused with the limits', () => {
  expect(readWholeNumber('rate', '50', { max: 100 })).toBe(50);
  for (const text of ['0', '101', '1.5', 'x', '']) {
    expect(() => readWholeNumber('rate', text, { max: 100 }), text).toThrow('--rate is a whole number from 1 to 100.');
  }
});

test('a command line that does not do, or asks for help, ends with the usage text and an exit code', () => {
  const error = vi.spyOn(console, 'error').mockReturnValue();
  const log = vi.spyOn(console, 'log').mockReturnValue();
  const refuse = () => {
    throw new UsageError('There is no scenario "x".');
  };
  expect(openCommand(['x'], 'USAGE', refuse)).toBe(2);
  expect(error).toHaveBeenCalledWith('There is no scenario "x".\n\nUSAGE');
  expect(openCommand(['--help'], 'USAGE', () => undefined)).toBe(0);
  expect(log).toHaveBeenCalledWith('USAGE');
  expect(openCommand([], 'USAGE', () => ({ rate: 1 }))).toEqual({ rate: 1 });
});
