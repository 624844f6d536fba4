import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject, randomBytes } from 'node:crypto';

/** Keys that one process may have: the present one and those before it. */
export const ENCRYPTION_KEYS_MAX = 10;

const ALGORITHM = 'aes-256-gcm';
const KEY_BYTES = 32;
/**
 * The size that GCM is made for. Nonces are random, so one key must not encrypt more than 2^32 values (NIST SP 800-38D
 * §8.3); equal texts share a ciphertext and count once.
 */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const ENTRY = /^([A-Za-z0-9_-]{1,32}):([A-Za-z0-9+/]{43}=)$/;
/** Between the entries of a setting, or the lines of a file. */
const SEPARATORS = /[\s,]+/;

/** What every sealed text begins with; no header that a customer sets may. */
export const SEALED_PREFIX = 'punctual-sealed:1:';
const SEALED_TEXT = /^punctual-sealed:1:([A-Za-z0-9_-]{1,32}):([A-Za-z0-9_-]+)$/;
/** Texts whose ciphertext is remembered. A tenant has a few credentials, and sends one of them with each timer. */
const SEALED_TEXTS_MAX = 1_000;

/** The encryption keys that somebody set are none. The message never holds a key. */
export class EncryptionKeysError extends Error {
  readonly code = 'PUNCTUAL_ENCRYPTION_KEYS_INVALID';
  readonly isRetryable = false;

  constructor(message: string) {
    super(message);
    this.name = 'EncryptionKeysError';
  }
}

/** Something that was encrypted can not be read here and now: its key is missing, or it is not what was encrypted. */
export class UnreadableSecretError extends Error {
  readonly code = 'PUNCTUAL_SECRET_UNREADABLE';
  readonly isRetryable = true;

  constructor(message: string) {
    super(message);
    this.name = 'UnreadableSecretError';
  }
}

/** A value under one of the keys. */
export interface SealedBytes {
  keyId: string;
  /** Nonce, ciphertext and tag. */
  ciphertext: Buffer;
}

/**
 * Keys that keep secrets unreadable in the database (AES-256-GCM). The first one encrypts, all of them decrypt. What was
 * encrypted in one `context`, such as "signing-secret <tenant> <row>", opens in no other: whoever can write to the
 * database can not make it somebody else's.
 */
export class Keyring {
  readonly #keys: ReadonlyMap<string, KeyObject>;
  readonly #sealedTexts = new Map<string, string>();

  /** Without keys nothing can be sealed or opened. */
  constructor(keys: ReadonlyMap<string, KeyObject> = new Map()) {
    this.#keys = keys;
  }

  /** Ids of all keys, the one that encrypts first. Ids are no secrets. */
  get keyIds(): string[] {
    return [...this.#keys.keys()];
  }

  /** Undefined: there is no key, and nothing can be sealed. */
  get primaryKeyId(): string | undefined {
    return this.#keys.keys().next().value;
  }

  seal(text: string, context: string): SealedBytes {
    const [first] = this.#keys;
    if (!first) throw new EncryptionKeysError('There is no encryption key.');
    const [keyId, key] = first;
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES }).setAAD(Buffer.from(context));
    const ciphertext = Buffer.concat([nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]);
    return { keyId, ciphertext };
  }

  /** Throws UnreadableSecretError. */
  open({ keyId, ciphertext }: SealedBytes, context: string): string {
    const key = this.#keys.get(keyId);
    if (!key) throw new UnreadableSecretError(`It needs the encryption key "${keyId}", which is not set here.`);
    const isWhole = ciphertext.length >= NONCE_BYTES + TAG_BYTES;
    try {
      if (!isWhole) throw new RangeError('too short');
      const nonce = ciphertext.subarray(0, NONCE_BYTES);
      const decipher = createDecipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES });
      decipher.setAAD(Buffer.from(context)).setAuthTag(ciphertext.subarray(-TAG_BYTES));
      return decipher.update(ciphertext.subarray(NONCE_BYTES, -TAG_BYTES), undefined, 'utf8') + decipher.final('utf8');
    } catch {
      throw new UnreadableSecretError(
        `The encryption key "${keyId}" does not open it: it was encrypted with another key of that id, or changed since.`,
      );
    }
  }

  /**
   * Seals into text. Equal texts of one context get the same ciphertext while it is remembered: whoever prepares actions can
   * then tell that they are the same, and encrypting each anew would cost some microseconds a timer.
   */
  sealText(text: string, context: string): string {
    const name = `${context}\n${text}`;
    const known = this.#sealedTexts.get(name);
    if (known !== undefined) return known;
    const { keyId, ciphertext } = this.seal(text, context);
    const sealed = `${SEALED_PREFIX}${keyId}:${ciphertext.toString('base64url')}`;
    if (this.#sealedTexts.size >= SEALED_TEXTS_MAX) {
      this.#sealedTexts.delete(this.#sealedTexts.keys().next().value!);
    }
    this.#sealedTexts.set(name, sealed);
    return sealed;
  }

  /** Opens what `sealText` made; any other text comes back as it is. Throws UnreadableSecretError. */
  openText(text: string, context: string): string {
    if (!isSealedText(text)) return text;
    const [, keyId, encoded] = SEALED_TEXT.exec(text) ?? [];
    if (keyId === undefined || encoded === undefined) throw new UnreadableSecretError('It is cut off or damaged.');
    return this.open({ keyId, ciphertext: Buffer.from(encoded, 'base64url') }, context);
  }
}

export function isSealedText(text: string): boolean {
  return text.startsWith(SEALED_PREFIX);
}

/**
 * Reads keys from the text of a setting: `id:` and 32 bytes in base64 each, with commas or white space between. Undefined:
 * no keys. Throws EncryptionKeysError with a sentence that begins after the setting's name.
 */
export function parseEncryptionKeys(text: string | undefined): Keyring {
  const entries = (text ?? '').split(SEPARATORS).filter((entry) => entry !== '');
  if (text !== undefined && entries.length === 0) throw new EncryptionKeysError('holds no key.');
  if (entries.length > ENCRYPTION_KEYS_MAX) {
    throw new EncryptionKeysError(`holds more than ${ENCRYPTION_KEYS_MAX} keys.`);
  }
  const keys = new Map<string, KeyObject>();
  for (const [index, entry] of entries.entries()) {
    const [, id, encoded] = ENTRY.exec(entry) ?? [];
    const bytes = Buffer.from(encoded ?? '', 'base64');
    if (id === undefined || bytes.length !== KEY_BYTES) {
      throw new EncryptionKeysError(
        `must hold \`id:key\`, several with commas between, where a key is ${KEY_BYTES} bytes in base64 and an id letters, digits, - and _; the ${ordinal(index)} is none.`,
      );
    }
    if (keys.has(id)) throw new EncryptionKeysError(`holds two keys with the id of the ${ordinal(index)}.`);
    keys.set(id, createSecretKey(bytes));
  }
  return new Keyring(keys);
}

/** What is wrong with the setting ENCRYPTION_KEYS, one sentence each. */
export function findEncryptionKeyFaults(text: string | undefined): string[] {
  try {
    parseEncryptionKeys(text);
    return [];
  } catch (error) {
    if (!(error instanceof EncryptionKeysError)) throw error;
    return [`ENCRYPTION_KEYS ${error.message}`];
  }
}

function ordinal(index: number): string {
  return ['first', 'second', 'third', 'fourth', 'fifth', 'sixth', 'seventh', 'eighth', 'ninth', 'tenth'][index]!;
}
