import { randomBytes } from 'node:crypto';
import {
  chownSync,
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { explainFolderErrors } from './data-folder.ts';

const NAME = 'encryption-keys';
const KEY_BYTES = 32;

/** The text of the setting ENCRYPTION_KEYS with one new key, named by the day on which it was made. */
export function makeEncryptionKeys(): string {
  return `k${new Date().toISOString().slice(0, 10).replaceAll('-', '')}:${randomBytes(KEY_BYTES).toString('base64')}`;
}

/**
 * The encryption keys that a data folder keeps, as the setting ENCRYPTION_KEYS takes them: one a line, the first encrypts.
 * The file is made at the first call, readable by its owner alone. It is on the disk, or not there at all, before anything can
 * be encrypted with it: a key that a power cut swallowed would take all secrets with it. The caller has claimed the folder.
 */
export function keepEncryptionKeys(folder: string): string {
  return explainFolderErrors(folder, () => {
    const path = join(folder, NAME);
    if (!existsSync(path)) writeWhole(folder, path, `${makeEncryptionKeys()}\n`);
    return readFileSync(path, 'utf8').trim();
  });
}

/** The keys that a folder keeps; undefined when it keeps none. */
export function readEncryptionKeys(folder: string): string | undefined {
  const path = join(folder, NAME);
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined;
}

function writeWhole(folder: string, path: string, text: string): void {
  const draft = `${path}.draft`;
  rmSync(draft, { force: true });
  const file = openSync(draft, 'wx', 0o600);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  // What root makes in a user's folder belongs to that user, as everything else there.
  const { uid, gid } = statSync(folder);
  if (process.geteuid?.() === 0 && uid !== 0) chownSync(draft, uid, gid);
  renameSync(draft, path);
  const directory = openSync(folder, 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
