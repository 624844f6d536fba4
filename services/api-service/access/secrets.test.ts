import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { createApiKeyText, createSigningSecret, isSigningSecret } from './secrets.ts';

test('a key is new each time, has 256 random bits, and its prefix tells little of it', () => {
  const keys = Array.from({ length: 100 }, createApiKeyText);
  expect(new Set(keys.map(({ key }) => key)).size).toBe(100);
  for (const { key, prefix, keyHash } of keys) {
    expect(key).toMatch(/^pk_[A-Za-z0-9_-]{43}$/);
    expect(prefix).toBe(key.slice(0, 11));
    expect(keyHash).toHaveLength(32);
  }
});

test('a generated secret is one that Standard Webhooks allows', () => {
  expect(isSigningSecret(createSigningSecret())).toBe(true);
  expect(createSigningSecret()).not.toBe(createSigningSecret());
});

test.each([24, 25, 26, 32, 64])('a secret of %i bytes is accepted', (length) => {
  expect(isSigningSecret(`whsec_${randomBytes(length).toString('base64')}`)).toBe(true);
});

test.each([
  '',
  'whsec_',
  `whsec_${randomBytes(23).toString('base64')}`,
  `whsec_${randomBytes(65).toString('base64')}`,
  randomBytes(32).toString('base64'),
  `WHSEC_${randomBytes(32).toString('base64')}`,
  `whsec_${'='.repeat(40)}`,
  `whsec_${'A'.repeat(41)}`,
  `whsec_${Buffer.alloc(32, 0xff).toString('base64url')}`,
])('%j is no secret', (text) => {
  expect(isSigningSecret(text)).toBe(false);
});
