import { hash, randomBytes } from 'node:crypto';
import { createInvalidRequest } from '../plugins/problems.ts';

const KEY_PREFIX = 'pk_';
/** What every key looks like that was ever issued. */
export const API_KEY = /^pk_[A-Za-z0-9_-]{43}$/;
/** 256 bits, of which 48 are shown in the prefix. */
const KEY_BYTES = 32;
/** Characters of a key that lists show: enough to tell keys apart, far too few to guess the rest. */
const SHOWN_LENGTH = KEY_PREFIX.length + 8;

const SECRET_PREFIX = 'whsec_';
/** Sizes that Standard Webhooks allows, and the one that is generated. */
const SECRET_BYTES_MIN = 24;
const SECRET_BYTES_MAX = 64;
const SECRET_BYTES = 32;

/** A new API key: its text, which only its owner ever has, and what is stored of it. */
export function createApiKeyText(): { key: string; prefix: string; keyHash: Buffer } {
  const key = KEY_PREFIX + randomBytes(KEY_BYTES).toString('base64url');
  // A key is as random as a hash is long: a slow hash would guard nothing that a fast one does not.
  return { key, prefix: key.slice(0, SHOWN_LENGTH), keyHash: hash('sha256', key, 'buffer') };
}

/** A new secret for signing requests to targets. */
export function createSigningSecret(): string {
  return SECRET_PREFIX + randomBytes(SECRET_BYTES).toString('base64');
}

/** Whether `text` is `whsec_` and canonical base64 of 24 to 64 bytes. */
export function isSigningSecret(text: string): boolean {
  if (!text.startsWith(SECRET_PREFIX)) return false;
  const encoded = text.slice(SECRET_PREFIX.length);
  const bytes = Buffer.from(encoded, 'base64');
  return bytes.toString('base64') === encoded && bytes.length >= SECRET_BYTES_MIN && bytes.length <= SECRET_BYTES_MAX;
}

/** The secret that a request asks for: its own, or a new one for `generate`. Throws a 400 at `/signingSecret`. */
export function chooseSigningSecret(wanted: string): string {
  if (wanted === 'generate') return createSigningSecret();
  if (isSigningSecret(wanted)) return wanted;
  throw createInvalidRequest([
    { pointer: '/signingSecret', detail: 'It must be whsec_ and 24 to 64 bytes in base64.' },
  ]);
}
