import { type Keyring, parseEncryptionKeys } from '@punctual/domain';

/** ENCRYPTION_KEYS of tests with one key, and with a newer one before it. */
export const TEST_KEYS = `test-1:${Buffer.alloc(32, 1).toString('base64')}`;
export const NEWER_TEST_KEYS = `test-2:${Buffer.alloc(32, 2).toString('base64')},${TEST_KEYS}`;

/** A new keyring with these keys. */
export function makeKeyring(keys: string = TEST_KEYS): Keyring {
  return parseEncryptionKeys(keys);
}
