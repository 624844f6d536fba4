import { describe, expect, it } from 'vitest';
import { EgressBlockedError } from '../egress/guarded-connector.ts';
import { AnswerError } from './answer-parser.ts';
import { RequestError } from './http-connection.ts';
import { classifyStatus, describeNetworkError, ERROR_LENGTH_MAX, isOwnFault } from './http-outcome.ts';

const RETRYABLE_BELOW_500 = [408, 425, 429];

describe('classifyStatus', () => {
  it('knows 2xx as success, 5xx and three others as retryable, and nothing else', () => {
    for (let status = 100; status < 1_000; status += 1) {
      const hundreds = Math.floor(status / 100);
      const isRetryable = hundreds === 5 || RETRYABLE_BELOW_500.includes(status);
      expect([status, classifyStatus(status)]).toEqual([
        status,
        hundreds === 2 ? 'succeeded' : isRetryable ? 'retryable' : 'permanent',
      ]);
    }
  });
});

describe('describeNetworkError', () => {
  const withCode = (code: unknown) => Object.assign(new Error('10.0.0.7: internal detail'), { code });

  it('never passes on the text of an error', () => {
    const errorsToTry: unknown[] = [
      withCode('ECONNREFUSED'),
      withCode('SOMETHING_NEW'),
      withCode('has spaces 10.0.0.7'),
      withCode(`A${'B'.repeat(100)}`),
      withCode('constructor'),
      withCode(42),
      withCode(undefined),
      new AggregateError([withCode('ECONNREFUSED'), withCode('ENETUNREACH')], '10.0.0.7'),
      new AggregateError([]),
      '10.0.0.7',
      undefined,
      null,
    ];
    for (const each of errorsToTry) {
      const { outcome, error } = describeNetworkError(each);
      expect(outcome).toBe('retryable');
      expect(error).toMatch(/^The .{5,80}\.$/);
      expect(error).not.toMatch(/10\.0|internal/);
    }
  });

  it('names the code of an error that it has no line for, and that of the first address tried', () => {
    expect(describeNetworkError(withCode('SOMETHING_NEW')).error).toBe('The connection failed (SOMETHING_NEW).');
    const aggregate = new AggregateError([withCode('ECONNREFUSED'), withCode('ENETUNREACH')]);
    expect(describeNetworkError(aggregate).error).toBe('The connection was refused.');
  });

  it('makes a blocked address and a request that cannot be sent final', () => {
    const blocked = new EgressBlockedError('x'.repeat(600), 'host', '10.0.0.7');
    expect(describeNetworkError(blocked)).toEqual({
      outcome: 'blocked',
      error: 'x'.repeat(ERROR_LENGTH_MAX),
      contact: 'unknown',
    });
    expect(describeNetworkError(new RequestError()).outcome).toBe('permanent');
  });

  it('tells an endpoint that gave no answer from one that answered badly, and from a fault of ours', () => {
    for (const code of [
      'ECONNREFUSED',
      'ECONNRESET',
      'ENOTFOUND',
      'ESERVFAIL',
      'CERT_HAS_EXPIRED',
      'PUNCTUAL_CONNECTION_CLOSED',
    ]) {
      expect([code, describeNetworkError(withCode(code)).contact]).toEqual([code, 'unanswered']);
    }
    expect(describeNetworkError(undefined).contact).toBe('unanswered');
    for (const code of ['INVALID', 'HEAD_TOO_LARGE', 'LENGTH_WRONG'] as const) {
      const error = new AnswerError(`PUNCTUAL_ANSWER_${code}`, 'x');
      expect([code, describeNetworkError(error).contact]).toEqual([code, 'answered']);
    }
    for (const code of ['EBUSY', 'EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'PUNCTUAL_REQUEST_INVALID']) {
      expect([code, describeNetworkError(withCode(code)).contact]).toEqual([code, 'unknown']);
      expect([code, isOwnFault(withCode(code))]).toEqual([code, code !== 'PUNCTUAL_REQUEST_INVALID']);
    }
    for (const each of [undefined, withCode('ECONNREFUSED'), withCode('ETIMEOUT')])
      expect(isOwnFault(each)).toBe(false);
  });
});
