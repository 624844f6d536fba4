import { createHmac, timingSafeEqual } from 'node:crypto';

/** What a worker of the customer was given: an attempt of a timer. Instants in epoch ms. */
export interface Lease {
  /** The one that the start returned; whoever begins the attempt again raises it. */
  version: number;
  attempt: number;
  startedAt: number;
  /** When the attempt should have begun. */
  wakeAt: number;
  runId: string | null;
}

const FORMAT = 1;
/** Format, version, attempt, start, wake time, run. */
const LEASE_BYTES = 1 + 4 + 2 + 8 + 8 + 16;
/** Half of SHA-256: nobody finds 2^128. */
const SIGNATURE_BYTES = 16;
const NO_RUN = '00000000-0000-0000-0000-000000000000';

/**
 * A token that proves the lease of one tenant's timer. It holds what the end of the attempt has to know, so that nothing
 * needs to be read for it, and is signed: nobody makes one for another timer, version or tenant. It is no secret that opens
 * anything by itself.
 */
export function createLeaseToken(key: Buffer, tenantId: string, timerId: string, lease: Lease): string {
  const bytes = Buffer.alloc(LEASE_BYTES);
  bytes.writeUInt8(FORMAT, 0);
  bytes.writeInt32BE(lease.version, 1);
  bytes.writeInt16BE(lease.attempt, 5);
  bytes.writeDoubleBE(lease.startedAt, 7);
  bytes.writeDoubleBE(lease.wakeAt, 15);
  bytes.write((lease.runId ?? NO_RUN).replaceAll('-', ''), 23, 'hex');
  return Buffer.concat([bytes, sign(key, tenantId, timerId, bytes)]).toString('base64url');
}

/** What a token proves for this tenant and timer; undefined: nothing. */
export function readLeaseToken(key: Buffer, tenantId: string, timerId: string, token: string): Lease | undefined {
  const bytes = Buffer.from(token, 'base64url');
  // Base64 that decodes to the same bytes may be spelled in several ways; only ours is good.
  if (bytes.length !== LEASE_BYTES + SIGNATURE_BYTES || bytes.toString('base64url') !== token) return undefined;
  const signed = bytes.subarray(0, LEASE_BYTES);
  if (!timingSafeEqual(bytes.subarray(LEASE_BYTES), sign(key, tenantId, timerId, signed))) return undefined;
  const runId = signed.toString('hex', 23).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  return {
    version: signed.readInt32BE(1),
    attempt: signed.readInt16BE(5),
    startedAt: signed.readDoubleBE(7),
    wakeAt: signed.readDoubleBE(15),
    runId: runId === NO_RUN ? null : runId,
  };
}

function sign(key: Buffer, tenantId: string, timerId: string, bytes: Buffer): Buffer {
  return createHmac('sha256', key)
    .update(`lease ${tenantId} ${timerId} `)
    .update(bytes)
    .digest()
    .subarray(0, SIGNATURE_BYTES);
}
