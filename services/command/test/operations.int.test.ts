import { afterAll, beforeAll, expect, test } from 'vitest';
import { openTestApi, type TestApi } from '../../api-service/test/open-test-api.ts';
import { describeOperations } from '../operation.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  await api.close();
});

test('operations.json is made from the document that the api serves: `npm test -- command/test/operations -u` writes it', async () => {
  const made = `${JSON.stringify(describeOperations(api.document), null, 2)}\n`;
  await expect(made).toMatchFileSnapshot('../operations.json');
});
