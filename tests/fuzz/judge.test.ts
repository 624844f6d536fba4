import type { AnswerChecker, ApiDocument } from '@punctual/testkit';
import { describe, expect, test } from 'vitest';
import type { Actor, FuzzCase } from './cases/case.ts';
import type { Exchange } from './exchange.ts';
import { createJudge } from './judge.ts';

const operation = (scope: string | undefined) => ({
  security: scope === undefined ? [] : [{ apiKey: [scope] }],
  responses: {},
});
const document: ApiDocument = {
  paths: {
    '/v1/timers': { get: operation('read'), post: operation('write') },
    '/v1/tenants': { get: operation('operator') },
    '/v1/health': { get: operation(undefined) },
  },
  components: { schemas: {} },
};
/** Finds nothing: what the document says of an answer is another's matter. */
const checker: AnswerChecker = { findFaults: () => [], seen: new Set() };
const judge = createJudge({
  document,
  checker,
  secrets: ['canary-1', 'name-1'],
  operatorMaySee: new Set(['name-1']),
});

const request = (fields: Partial<FuzzCase> = {}): FuzzCase => ({
  actor: 'writer',
  method: 'GET',
  target: '/v1/timers',
  headers: [],
  body: undefined,
  framing: 'length',
  ...fields,
});
const answer = (status: number, body = '{}'): Exchange => ({
  kind: 'answer',
  status,
  headers: { 'x-request-id': 'a' },
  body,
  ms: 1,
});
const judgeOne = (fields: Partial<FuzzCase>, exchange: Exchange) => judge.findFaults(request(fields), exchange);

describe('an answer is a fault', () => {
  test.each([
    ['a 500', {}, answer(500), /answered 500/],
    ['a 503 that stays', {}, answer(503), /answered 503/],
    ['silence', {}, { kind: 'silence' } as Exchange, /no answer in time/],
    ['a connection that was closed', {}, { kind: 'closed', received: '' } as Exchange, /closed/],
    ["another tenant's data", {}, answer(200, '{"payload":"canary-1"}'), /shows what is not the sender's/],
    ["another tenant's data, to an operator", { actor: 'operator' as Actor }, answer(200, 'canary-1'), /shows/],
    ['what another tenant is called', {}, answer(404, 'name-1'), /shows/],
    ['success without a key', { actor: 'nobody' as Actor }, answer(200), /nobody was answered 200/],
    ['success with a guess', { actor: 'nobody with a guess' as Actor }, answer(201), /was answered 201/],
    ['404 without a key', { actor: 'nobody' as Actor }, answer(404), /was answered 404/],
    ['a write with a key that reads', { actor: 'reader' as Actor, method: 'POST' }, answer(201), /answered 201/],
    ["an operator's list for a tenant's admin", { actor: 'admin' as Actor, target: '/v1/tenants' }, answer(200), /200/],
    ['401 with a good key', {}, answer(401), /good key was refused/],
    [
      'success for what is not HTTP',
      { actor: 'nobody' as Actor, framing: 'both' as const },
      answer(200),
      /answered 200/,
    ],
  ])('%s', (_name, fields, exchange, fault) => {
    expect(judgeOne(fields, exchange).join('\n')).toMatch(fault);
  });
});

describe('an answer is none', () => {
  test.each([
    ['success with a key that does', { method: 'POST' }, answer(201)],
    ['a refusal with a reason', {}, answer(400)],
    ['401 without a key', { actor: 'nobody' as Actor }, answer(401)],
    ['400 before the door', { actor: 'nobody' as Actor }, answer(400)],
    ['403 with a key that is too small', { actor: 'reader' as Actor, method: 'POST' }, answer(403)],
    ['health without a key', { actor: 'nobody' as Actor, target: '/v1/health' }, answer(200)],
    ['what the request said itself', { target: '/v1/timers?x=canary-1' }, answer(400, 'canary-1')],
    ['a name, to an operator', { actor: 'operator' as Actor, target: '/v1/tenants' }, answer(200, 'name-1')],
    [
      'a connection closed on what is not HTTP',
      { framing: 'not HTTP' as const },
      { kind: 'closed', received: '' } as Exchange,
    ],
  ])('%s', (_name, fields, exchange) => {
    expect(judgeOne(fields, exchange)).toEqual([]);
  });
});

test('what the document says of an answer is asked', () => {
  const strict = createJudge({
    document,
    checker: { findFaults: () => ['odd'], seen: new Set() },
    secrets: [],
    operatorMaySee: new Set(),
  });
  expect(strict.findFaults(request(), answer(200))).toEqual(['odd']);
});
