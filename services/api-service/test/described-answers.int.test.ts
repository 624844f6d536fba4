import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openTestApi, type TestApi } from './open-test-api.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  await api.close();
});

describe('what every test holds answers against', () => {
  const answer = {
    method: 'GET',
    path: '/v1/timers/count?status=dead',
    status: 200,
    headers: { 'content-type': 'application/json; charset=utf-8', 'x-request-id': 'a' },
    body: '{"count":1}',
  };

  test('finds nothing wrong with an answer as described', () => {
    expect(api.checker.findFaults(answer)).toEqual([]);
  });

  test.each([
    ['a status that is not described', { status: 418 }, /lacks this status/],
    ['a field that is not described', { body: '{"count":1,"extra":1}' }, /unevaluated/],
    ['a field of the wrong type', { body: '{"count":"1"}' }, /must be integer/],
    ['a field that is missing', { body: '{}' }, /required/],
    ['a body that is no JSON', { body: '<html>' }, /not JSON/],
    [
      'another content type',
      { headers: { ...answer.headers, 'content-type': 'text/html' } },
      /content type is text\/html/,
    ],
    ['a missing header', { headers: { 'content-type': 'application/json' } }, /x-request-id is missing/],
    ['an operation that is not described', { path: '/v1/nowhere' }, /no such operation/],
    [
      'a code that is not one of the operation',
      {
        status: 403,
        headers: { ...answer.headers, 'content-type': 'application/problem+json' },
        body: '{"type":"about:blank","title":"x","status":403,"detail":"x","code":"odd","requestId":"a"}',
      },
      /lacks this status|allowed values/,
    ],
  ])('finds %s', (_name, fields, fault) => {
    expect(api.checker.findFaults({ ...answer, ...fields })[0]).toMatch(fault);
  });
});

test('the OpenAPI document writes each schema that many operations share once', () => {
  const text = JSON.stringify(api.document);
  expect(api.document.components.schemas).toHaveProperty('Timer');
  for (const name of Object.keys(api.document.components.schemas)) {
    expect(text, name).toContain(`"#/components/schemas/${name}"`);
  }
  expect(text).not.toContain('x-codes');
  expect(text).not.toContain('x-has-labels');
  // A document of megabytes is of no use to those who generate clients from it.
  expect(text.length).toBeLessThan(400_000);
});
