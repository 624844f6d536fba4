import Type from 'typebox';
import { describe, expect, it } from 'vitest';
import { ConfigError, describeSetting, readConfig } from './config.ts';

const Settings = Type.Object({
  PORT: Type.Integer({ minimum: 0, maximum: 65_535, default: 8088 }),
  RATE: Type.Optional(Type.Number({ minimum: 0.5 })),
  IS_ON: Type.Boolean({ default: false }),
  MODE: Type.Union([Type.Literal('on'), Type.Literal('off')], { default: 'on' }),
  URL: Type.String({ minLength: 1 }),
  KEY: Type.Optional(Type.String({ minLength: 16 })),
});

function readFaults(...args: Parameters<typeof readConfig<typeof Settings>>): readonly string[] {
  try {
    readConfig(...args);
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
  return [];
}

describe('settings', () => {
  it('are parsed, and filled in where they are absent or empty', () => {
    expect(readConfig(Settings, { URL: 'x', PORT: '0', RATE: '1.5', IS_ON: 'true', MODE: 'off', OTHER: 'y' })).toEqual({
      URL: 'x',
      PORT: 0,
      RATE: 1.5,
      IS_ON: true,
      MODE: 'off',
    });
    expect(readConfig(Settings, { URL: 'x', PORT: '', RATE: '' })).toEqual({
      URL: 'x',
      PORT: 8088,
      IS_ON: false,
      MODE: 'on',
    });
  });

  it('that do not do are all told at once, each in a sentence that says what would', () => {
    expect(readFaults(Settings, { PORT: '70000', RATE: 'fast', IS_ON: 'yes', MODE: 'maybe' })).toEqual([
      'PORT=70000 is not a whole number from 0 to 65535.',
      'RATE=fast is not a number of at least 0.5.',
      'IS_ON=yes is not true or false.',
      'MODE=maybe is not one of on, off.',
      'URL is not set.',
    ]);
  });

  it.each(['1.5', '1e9', 'Infinity', 'NaN', '-1', '8088x', 'null'])('refuse "%s" for a port', (text) => {
    expect(readFaults(Settings, { URL: 'x', PORT: text })).toHaveLength(1);
  });

  it('never repeat a text in a fault: it may be a key', () => {
    const faults = readFaults(Settings, { URL: 'x', KEY: 'pk_secret' });
    expect(faults).toEqual(['KEY is not text of at least 16 characters.']);
  });

  it('are checked against each other when each does by itself, and all relations that do not hold are told', () => {
    const relations = (config: { PORT: number }) =>
      config.PORT === 1 ? ['PORT must not be 1.', 'PORT must not be odd.'] : [];
    expect(readFaults(Settings, { URL: 'x', PORT: '1' }, relations)).toEqual([
      'PORT must not be 1.',
      'PORT must not be odd.',
    ]);
    expect(readFaults(Settings, { URL: 'x', PORT: '2' }, relations)).toEqual([]);
    expect(readFaults(Settings, { PORT: '1' }, relations)).toEqual(['URL is not set.']);
  });

  it('take no value from what every object inherits', () => {
    const schema = Type.Object({ toString: Type.String({ default: 'own' }) });
    expect(readConfig(schema, Object.create(null))).toEqual({ toString: 'own' });
  });

  it('are described in words', () => {
    expect(describeSetting({ type: 'integer' })).toBe('a whole number');
    expect(describeSetting({ type: 'string' })).toBe('valid text');
  });
});
