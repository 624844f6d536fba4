import type { Database } from '@punctual/database';
import { afterAll, beforeAll } from 'vitest';
import { createTestDatabase, type TestDatabase } from './test-database.ts';

/** A database for all tests of one file: cloned before the first, dropped after the last. Call it at the file's top. */
export function useTestDatabase(poolSizeMax?: number): {
  readonly database: Database;
  readonly service: Database;
  readonly url: string;
} {
  let opened: TestDatabase | undefined;
  beforeAll(async () => {
    opened = await createTestDatabase(poolSizeMax);
  });
  afterAll(() => opened?.drop());
  return {
    get database() {
      return opened!.database;
    },
    get service() {
      return opened!.service;
    },
    get url() {
      return opened!.url;
    },
  };
}
