import { migrateQueue } from '@punctual/queue';
import { createTestDatabase, type TestDatabase } from '@punctual/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type FuzzedApi, startFuzzedApi } from './api.ts';
import { fuzz } from './fuzz.ts';

/** The short form of `npm run fuzz`: some seconds. */
const CASES = 2_000;

let testDatabase: TestDatabase;
let api: FuzzedApi;
beforeAll(async () => {
  testDatabase = await createTestDatabase(4);
  await migrateQueue({ databaseUrl: testDatabase.url });
  api = await startFuzzedApi(testDatabase.url);
});
afterAll(async () => {
  await api?.stop();
  await testDatabase?.drop();
});

test('whatever is sent and by whomever: no 5xx, no answer that is not as described, no door that does not hold', async () => {
  // Another seed each time; a failure names it.
  const seed = Math.floor(Math.random() * 2 ** 31);
  const { failures, counts, cases } = await fuzz({ api, database: testDatabase.database, cases: CASES, seed });
  expect(failures).toEqual([]);
  expect(cases).toBeGreaterThanOrEqual(CASES);
  // A run in which hardly anything was let in has shown little.
  for (const actor of ['reader', 'writer', 'admin', 'operator']) {
    expect(counts[actor]!['2xx'], actor).toBeGreaterThan(20);
    expect(counts[actor]!['4xx'], actor).toBeGreaterThan(20);
  }
}, 120_000);
