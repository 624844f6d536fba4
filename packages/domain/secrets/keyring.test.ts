import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ENCRYPTION_KEYS_MAX,
  EncryptionKeysError,
  type Keyring,
  parseEncryptionKeys,
  SEALED_PREFIX,
  UnreadableSecretError,
} from './keyring.ts';

const encode = (byte: number, length = 32) => Buffer.alloc(length, byte).toString('base64');
const OLD = `old:${encode(1)}`;
const NEW = `new:${encode(2)}`;
const CONTEXT = 'signing-secret tenant row';

describe('a keyring', () => {
  it('opens whatever it sealed, in the same context', () => {
    const keyring = parseEncryptionKeys(NEW);
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string(), (text, context) => {
        expect(keyring.open(keyring.seal(text, context), context)).toBe(text.toWellFormed());
        expect(keyring.openText(keyring.sealText(text, context), context)).toBe(text.toWellFormed());
      }),
    );
  });

  it('seals with the first key, and opens with all of them', () => {
    const before = parseEncryptionKeys(OLD);
    const both = parseEncryptionKeys(`${NEW},${OLD}`);
    const sealed = before.seal('secret', CONTEXT);
    expect(sealed.keyId).toBe('old');
    expect(both.open(sealed, CONTEXT)).toBe('secret');
    expect(both.seal('secret', CONTEXT).keyId).toBe('new');
    expect(both.keyIds).toEqual(['new', 'old']);
  });

  it('never uses a nonce twice, and shows nothing of the text', () => {
    const keyring = parseEncryptionKeys(NEW);
    const sealed = Array.from({ length: 1_000 }, () => keyring.seal('the same text', CONTEXT).ciphertext);
    expect(new Set(sealed.map((bytes) => bytes.subarray(0, 12).toString('hex'))).size).toBe(sealed.length);
    for (const bytes of sealed) expect(bytes.includes('same')).toBe(false);
  });

  it('gives equal texts of one context the same sealed text, and of two contexts different ones', () => {
    const keyring = parseEncryptionKeys(NEW);
    const sealed = keyring.sealText('Bearer a', 'header x');
    expect(keyring.sealText('Bearer a', 'header x')).toBe(sealed);
    expect(keyring.sealText('Bearer a', 'header y')).not.toBe(sealed);
    expect(keyring.sealText('Bearer b', 'header x')).not.toBe(sealed);
  });

  it('passes text on that nobody sealed', () => {
    expect(parseEncryptionKeys(undefined).openText('Bearer plain', CONTEXT)).toBe('Bearer plain');
  });
});

describe('what was sealed does not open', () => {
  const keyring = parseEncryptionKeys(OLD);
  const sealed = keyring.seal('secret', CONTEXT);
  const expectClosed = (opener: Keyring, keyId: string, ciphertext: Buffer, context: string) => {
    expect(() => opener.open({ keyId, ciphertext }, context)).toThrow(UnreadableSecretError);
  };

  it('in another context', () => expectClosed(keyring, 'old', sealed.ciphertext, 'signing-secret tenant other'));

  it('without its key', () => {
    expectClosed(parseEncryptionKeys(NEW), 'old', sealed.ciphertext, CONTEXT);
    expectClosed(parseEncryptionKeys(undefined), 'old', sealed.ciphertext, CONTEXT);
  });

  it('with another key of the same id', () => {
    expectClosed(parseEncryptionKeys(`old:${encode(3)}`), 'old', sealed.ciphertext, CONTEXT);
  });

  it('when a single bit of it was changed, or a part is missing', () => {
    for (let index = 0; index < sealed.ciphertext.length; index += 1) {
      const changed = Buffer.from(sealed.ciphertext);
      changed[index]! ^= 1;
      expectClosed(keyring, 'old', changed, CONTEXT);
      expectClosed(keyring, 'old', sealed.ciphertext.subarray(0, index), CONTEXT);
    }
  });

  it.each(['', 'old', 'old:', 'old:!!!', `old:${'A'.repeat(10)}`, ':AAAA'])('when its text is %j', (rest) => {
    expect(() => keyring.openText(SEALED_PREFIX + rest, CONTEXT)).toThrow(UnreadableSecretError);
  });
});

describe('the setting of the keys', () => {
  it('holds one or several, with commas, spaces or line breaks between', () => {
    expect(parseEncryptionKeys(` ${NEW}\n${OLD},\n`).keyIds).toEqual(['new', 'old']);
    expect(parseEncryptionKeys(undefined).primaryKeyId).toBeUndefined();
  });

  it.each([
    ['nothing', ' , '],
    ['a key without an id', encode(1)],
    ['an id without a key', 'old:'],
    ['a key that is too short', `old:${encode(1, 31)}`],
    ['a key that is too long', `old:${encode(1, 33)}`],
    ['a key in hex', `old:${'01'.repeat(32)}`],
    ['an id with other characters', `o.ld:${encode(1)}`],
    ['an id that is too long', `${'o'.repeat(33)}:${encode(1)}`],
    ['two keys of one id', `${OLD},old:${encode(2)}`],
    ['too many keys', Array.from({ length: ENCRYPTION_KEYS_MAX + 1 }, (_, n) => `k${n}:${encode(n)}`).join(',')],
  ])('is refused with %s, in a sentence that does not repeat it', (_name, text) => {
    try {
      parseEncryptionKeys(text);
    } catch (error) {
      expect(error).toBeInstanceOf(EncryptionKeysError);
      for (const part of text.split(/[,:]/)) {
        if (part.trim().length > 8) expect((error as Error).message).not.toContain(part.trim());
      }
      return;
    }
    throw new Error('it was accepted');
  });

  it('can not seal without a key', () => {
    expect(() => parseEncryptionKeys(undefined).seal('secret', CONTEXT)).toThrow(EncryptionKeysError);
  });
});
