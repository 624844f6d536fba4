import { randomUUIDv7 } from 'node:crypto';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** A new UUIDv7 (RFC 9562): it sorts by the time at which it was made. */
export function createId(): string {
  return randomUUIDv7();
}

/** Whether `text` is a UUID in its usual form, of any version. */
export function isId(text: string): boolean {
  return UUID.test(text);
}

/**
 * The partition of a timer, or of all timers of a run: the last 32 bits of the id, which are random in a
 * UUIDv7, modulo the number of partitions.
 */
export function choosePartition(id: string, partitionCount: number): number {
  return Number.parseInt(id.slice(-8), 16) % partitionCount;
}

/**
 * The tenant of the system's own timers: work that takes long is done by timers like everybody's. No key belongs to it, and
 * nobody but our own code makes timers of it.
 */
export const SYSTEM_TENANT_ID = '00000000-0000-7000-8000-000000000000';

/** The tenant to which everything belongs while `AUTH=off`. */
export const DEFAULT_TENANT_ID = '00000000-0000-7000-8000-000000000001';
