import { ConfigError } from '@punctual/runtime';
import { describe, expect, it } from 'vitest';
import { readWorkerConfig } from './config.ts';

const DATABASE_URL = 'postgres://user:secret@127.0.0.1/punctual';

function readFaults(settings: Record<string, string>): readonly string[] {
  try {
    readWorkerConfig(settings);
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
  return [];
}

describe("the worker's settings", () => {
  it('do by default, and need only a database', () => {
    expect(readWorkerConfig({ DATABASE_URL })).toMatchObject({ DATABASE_URL, WORKER_ATTEMPTS_MAX: 1_536 });
    expect(readFaults({})).toEqual(['DATABASE_URL is not set.']);
  });

  it('leave room for a whole chunk beside what one slow origin can hold', () => {
    const settings = { DATABASE_URL, WORKER_ATTEMPTS_PER_ORIGIN: '100' };
    expect(readFaults({ ...settings, WORKER_ATTEMPTS_MAX: '321' })).toEqual([]);
    expect(readFaults({ ...settings, WORKER_ATTEMPTS_MAX: '320' })).toHaveLength(1);
  });
});
