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

  it('take DNS servers as addresses, with or without a port, and only a few', () => {
    const settings = { DATABASE_URL };
    for (const good of ['', '127.0.0.1', ' 127.0.0.1:5353 , [::1]:53', '::1', '10.0.0.1,10.0.0.2,10.0.0.3']) {
      expect(readFaults({ ...settings, WORKER_DNS_SERVERS: good }), good).toEqual([]);
    }
    for (const bad of [
      'dns.example',
      '127.0.0.1:0x',
      '127.0.0.1:99999',
      '1,2',
      '10.0.0.1,10.0.0.2,10.0.0.3,10.0.0.4',
    ]) {
      expect(readFaults({ ...settings, WORKER_DNS_SERVERS: bad }), bad).toHaveLength(1);
    }
  });
});
