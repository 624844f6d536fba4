import type { Canary } from './spellings.ts';

const encode = (text: string) => Buffer.from(text).toString('base64');
export const BOOTSTRAP_KEY = 'canary-bootstrap-key-Zq81';
export const DATABASE_PASSWORD = 'canary-database-password-Wb47';
export const HEADER = 'Bearer canary-header-value-Lm52';
export const OTHER_HEADER = 'canary-other-header-Tx09';
export const PAYLOAD = 'canary-payload-Gh63';
export const SIGNING_SECRET = `whsec_${encode('canary-signing-secret-Rv30-0001')}`;
export const NEXT_SIGNING_SECRET = `whsec_${encode('canary-signing-secret-Rv30-0002')}`;
export const ENCRYPTION_KEY = encode('canary-encryption-key-Dk74-00001');

/** What is looked for; API keys join it when they are made. */
export const canaries: Canary[] = [
  { name: 'bootstrap key', text: BOOTSTRAP_KEY },
  { name: 'database password', text: DATABASE_PASSWORD },
  { name: 'header', text: HEADER },
  { name: 'header without its scheme', text: HEADER.slice('Bearer '.length) },
  { name: 'other header', text: OTHER_HEADER },
  { name: 'signing secret', text: SIGNING_SECRET },
  { name: 'next signing secret', text: NEXT_SIGNING_SECRET },
  { name: 'encryption key', text: ENCRYPTION_KEY },
  { name: 'encryption key, its bytes', text: Buffer.from(ENCRYPTION_KEY, 'base64').toString() },
  { name: 'payload', text: PAYLOAD, isPayload: true },
];
