import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createId } from '../identity.ts';
import { createLeaseToken, type Lease, readLeaseToken } from './lease-token.ts';

const key = randomBytes(32);
const tenantId = createId();
const timerId = createId();
const lease: Lease = {
  version: 7,
  attempt: 2,
  startedAt: 1_800_000_000_000.25,
  wakeAt: 1_799_999_999_999,
  runId: createId(),
};

describe('a lease token', () => {
  it('tells what was leased, with and without a run', () => {
    for (const told of [lease, { ...lease, runId: null }]) {
      expect(readLeaseToken(key, tenantId, timerId, createLeaseToken(key, tenantId, timerId, told))).toEqual(told);
    }
  });

  it('proves nothing for another timer, tenant or installation', () => {
    const token = createLeaseToken(key, tenantId, timerId, lease);
    expect(readLeaseToken(key, tenantId, createId(), token)).toBeUndefined();
    expect(readLeaseToken(key, createId(), timerId, token)).toBeUndefined();
    expect(readLeaseToken(randomBytes(32), tenantId, timerId, token)).toBeUndefined();
  });

  it('proves nothing when any bit of it is changed, or it is cut or spelled otherwise', () => {
    const token = createLeaseToken(key, tenantId, timerId, lease);
    const bytes = Buffer.from(token, 'base64url');
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      expect(readLeaseToken(key, tenantId, timerId, changed.toString('base64url'))).toBeUndefined();
    }
    for (const other of ['', 'x', token.slice(0, -1), `${token}A`, `${token}=`, ` ${token}`]) {
      expect(readLeaseToken(key, tenantId, timerId, other)).toBeUndefined();
    }
  });
});
