import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { keepEncryptionKeys, makeEncryptionKeys, readEncryptionKeys } from '../encryption-key-file.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'punctual-keys-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const ENTRY = /^k\d{8}:[A-Za-z0-9+/]{43}=$/;

it('the keys of a data folder are made once, and only their owner may read them', () => {
  expect(readEncryptionKeys(folder)).toBeUndefined();
  const keys = keepEncryptionKeys(folder);
  expect(keys).toMatch(ENTRY);
  expect(keepEncryptionKeys(folder)).toBe(keys);
  expect(readEncryptionKeys(folder)).toBe(keys);
  expect(statSync(join(folder, 'encryption-keys')).mode & 0o777).toBe(0o600);
  expect(readdirSync(folder)).toEqual(['encryption-keys']);
  expect(makeEncryptionKeys()).toMatch(ENTRY);
  expect(makeEncryptionKeys()).not.toBe(makeEncryptionKeys());
});

it('a file that holds several keys is taken as it is', () => {
  const text = `${makeEncryptionKeys()}\n${makeEncryptionKeys()}`;
  writeFileSync(join(folder, 'encryption-keys'), `${text}\n`);
  expect(keepEncryptionKeys(folder)).toBe(text);
});

it('a draft that a killed process left is no key', () => {
  writeFileSync(join(folder, 'encryption-keys.draft'), 'k20270101:half');
  const keys = keepEncryptionKeys(folder);
  expect(keys).toMatch(ENTRY);
  expect(readFileSync(join(folder, 'encryption-keys'), 'utf8')).toBe(`${keys}\n`);
});

it('a folder that can not be written is named in a sentence', () => {
  expect(() => keepEncryptionKeys(join(folder, 'none'))).toThrow(/can ?not be created or written/);
});
