import { describe, expect, it } from 'vitest';
import {
  ACTION_HEADERS_BYTES_MAX,
  ACTION_HEADERS_MAX,
  isReservedHeader,
  validateActionHeaders,
} from './action-headers.ts';

describe('validateActionHeaders', () => {
  it('passes ordinary headers, authorization and content type included', () => {
    const headers = {
      Authorization: 'Bearer abc',
      'Content-Type': 'application/cloudevents+json; charset="utf-8"',
      'X-Empty': '',
      Accept: '*/*',
    };
    expect(validateActionHeaders(headers)).toEqual([]);
  });

  it.each([
    'Host',
    'connection',
    'Content-Length',
    'TRANSFER-ENCODING',
    'Upgrade',
    'te',
    'Trailer',
    'Expect',
    'Keep-Alive',
    'Proxy-Authorization',
    'proxy-connection',
    'HTTP2-Settings',
    'Webhook-Id',
    'webhook-timestamp',
    'Webhook-Signature',
    'Idempotency-Key',
    'User-Agent',
    'Punctual-Attempt',
    'punctual-anything',
  ])('refuses %s, which is not the customer’s to set', (name) => {
    expect(isReservedHeader(name.toLowerCase())).toBe(true);
    expect(validateActionHeaders({ [name]: 'x' })).toEqual([
      { pointer: `/${name}`, detail: 'This header is set by Punctual or by the connection.' },
    ]);
  });

  it.each(['', ' ', 'a b', 'a:b', 'a\r\nb', 'é', 'a\u0000', '(x)'])('refuses the name %j', (name) => {
    expect(validateActionHeaders({ [name]: 'x' })).toHaveLength(1);
  });

  it.each(['a\r\nX-Injected: 1', 'a\nb', 'a\u0000', 'é', '€', '\u007f', ' a', 'a ', '\t'])(
    'refuses the value %j',
    (value) => {
      expect(validateActionHeaders({ 'x-a': value })).toHaveLength(1);
    },
  );

  it('points at each fault, with the pointer escaped', () => {
    const faults = validateActionHeaders({ 'a/b~c': 'x', fine: 'x', bad: 'é' });
    expect(faults.map((fault) => fault.pointer)).toEqual(['/a~1b~0c', '/bad']);
  });

  it('refuses a header named twice in different case', () => {
    expect(validateActionHeaders({ 'X-A': '1', 'x-a': '2' })).toEqual([
      { pointer: '/x-a', detail: 'The header is repeated.' },
    ]);
  });

  it('does not stumble over names of object properties', () => {
    expect(validateActionHeaders(JSON.parse('{"__proto__":"x","constructor":"y"}'))).toEqual([]);
  });

  it('limits their number and their size', () => {
    const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`x-${index}`, '']));
    expect(validateActionHeaders(many(ACTION_HEADERS_MAX))).toEqual([]);
    expect(validateActionHeaders(many(ACTION_HEADERS_MAX + 1))).toHaveLength(1);
    expect(validateActionHeaders({ a: 'x'.repeat(ACTION_HEADERS_BYTES_MAX - 1) })).toEqual([]);
    expect(validateActionHeaders({ a: 'x'.repeat(ACTION_HEADERS_BYTES_MAX) })).toHaveLength(1);
  });
});
