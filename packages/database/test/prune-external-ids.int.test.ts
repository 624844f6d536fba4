import { createId, DEFAULT_TENANT_ID } from '@punctual/domain';
import { createTestDatabase, makeTimer, TEST_ORIGIN, type TestDatabase } from '@punctual/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createNamedTimers, pruneExternalIds } from '../index.ts';

let cloned: TestDatabase;
beforeAll(async () => {
  cloned = await createTestDatabase();
});
afterAll(() => cloned.drop());

test('an external id is forgotten when what it named has gone, and only then', async () => {
  const { hot, ordinary } = cloned.database;
  const kept = makeTimer({ externalId: 'kept' });
  await createNamedTimers(hot, [{ ...kept, origin: TEST_ORIGIN }]);
  const gone = ['gone-1', 'gone-2', 'too-young'].map((externalId) => ({ externalId, id: createId() }));
  for (const { externalId, id } of gone) {
    await ordinary.query(`INSERT INTO external_ids VALUES ($1, 'timer', $2, $3, now() - interval '2 days')`, [
      DEFAULT_TENANT_ID,
      externalId,
      id,
    ]);
  }
  await ordinary.query(`UPDATE external_ids SET created_at = now() WHERE external_id = 'too-young'`);
  await ordinary.query(`UPDATE external_ids SET created_at = now() - interval '2 days' WHERE external_id = 'kept'`);

  const first = await pruneExternalIds(hot, undefined, 2);
  const second = await pruneExternalIds(hot, first.next, 2);
  const end = await pruneExternalIds(hot, second.next, 2);
  expect(first.deleted + second.deleted).toBe(2);
  expect(end).toEqual({ deleted: 0, next: undefined });
  const { rows } = await ordinary.query('SELECT external_id FROM external_ids ORDER BY external_id');
  expect(rows.map((row) => row.external_id)).toEqual(['kept', 'too-young']);
});
