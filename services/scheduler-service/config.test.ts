import { ConfigError } from '@punctual/runtime';
import { describe, expect, it } from 'vitest';
import { readSchedulerConfig } from './config.ts';

const DATABASE_URL = 'postgres://user:secret@127.0.0.1/punctual';

function readFaults(settings: Record<string, string>): readonly string[] {
  try {
    readSchedulerConfig(settings);
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
  return [];
}

describe("the scheduler's settings", () => {
  it('do by default, and need only a database', () => {
    expect(readSchedulerConfig({ DATABASE_URL })).toMatchObject({ DATABASE_URL, SCHEDULER_LEASE_TTL_MS: 3_000 });
    expect(readFaults({})).toEqual(['DATABASE_URL is not set.']);
  });

  it('refuse leases that run out between renewals, and a look-ahead that ends before the next read, both at once', () => {
    const faults = readFaults({
      DATABASE_URL,
      SCHEDULER_LEASE_TTL_MS: '1500',
      SCHEDULER_LEASE_RENEW_MS: '1000',
      SCHEDULER_READ_INTERVAL_MS: '100',
      SCHEDULER_LOOK_AHEAD_MS: '150',
    });
    expect(faults).toHaveLength(2);
    expect(faults[0]).toContain('SCHEDULER_LEASE_RENEW_MS');
    expect(faults[1]).toContain('SCHEDULER_LOOK_AHEAD_MS');
  });

  it('refuse several queues, and a pooler, where the queue is on Postgres', () => {
    const settings = { DATABASE_URL, QUEUE_COUNT: '2', DATABASE_POOLER: 'transaction' };
    expect(readFaults(settings)).toEqual([
      expect.stringContaining('DATABASE_POOLER needs REDIS_URL'),
      expect.stringContaining('QUEUE_COUNT above 1 needs REDIS_URL'),
    ]);
    expect(readFaults({ ...settings, REDIS_URL: 'redis://127.0.0.1' })).toEqual([]);
  });

  it('refuse to keep dead letters for less than all else', () => {
    const settings = { DATABASE_URL, RETENTION_DAYS: '40' };
    expect(readFaults({ ...settings, DEAD_LETTER_RETENTION_DAYS: '39' })).toEqual([
      expect.stringContaining('DEAD_LETTER_RETENTION_DAYS'),
    ]);
    expect(readFaults({ ...settings, DEAD_LETTER_RETENTION_DAYS: '40' })).toEqual([]);
    expect(readFaults(settings)).toEqual([]);
  });
});
