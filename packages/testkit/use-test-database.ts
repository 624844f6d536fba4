import type { Database } from '@punctual/database';
import { afterAll, beforeAll, vi } from 'vitest';
import { createTestDatabase, type TestDatabase } from './test-database.ts';

/** A machine under load may be ten times slower than the second or so that the longest of these tests needs (ms). */
const TEST_TIMEOUT_MS = 30_000;

/**
 * A database for all tests of one file: cloned before the first, dropped after the last. Call it at the file's top; the
 * file's tests and hooks then may take TEST_TIMEOUT_MS, unless the file says otherwise.
 */
export function useTestDatabase(poolSizeMax?: number): { readonly database: Database; readonly url: string } {
  vi.setConfig({ testTimeout: TEST_TIMEOUT_MS, hookTimeout: TEST_TIMEOUT_MS });
  let opened: TestDatabase | undefined;
  beforeAll(async () => {
    opened = await createTestDatabase(poolSizeMax);
  });
  afterAll(() => opened?.drop());
  return {
    get database() {
      return opened!.database;
    },
    get url() {
      return opened!.url;
    },
  };
}
