import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { findDeniedLicences, listLicences } from '../../scripts/describe-docs/describe-licences.ts';
import { listLockedPackages, readLockFile, readManifest } from '../../scripts/describe-docs/locked-packages.ts';

const ROOT = join(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const packages = listLockedPackages();
const name = ({ name, version }: { name: string; version: string }) => `${name}@${version}`;

test('every locked package is pinned by its checksum, and nothing says where it came from', () => {
  expect(packages.length).toBeGreaterThan(150);
  expect(packages.filter(({ integrity }) => !integrity?.startsWith('sha512-')).map(name)).toEqual([]);
  // A tarball's address would send everybody to the registry of whoever made the file.
  expect(readLockFile().match(/\b(?:tarball|https?:|git\+|registry)\S*/g)).toBeNull();
  for (const path of ['.npmrc', 'pnpm-workspace.yaml', 'package.json']) {
    if (existsSync(join(ROOT, path))) expect(read(path), path).not.toMatch(/\bregistr(?:y|ies)"?\s*[:=]|https?:/i);
  }
});

test('the lock file has what the manifests ask for, and asks for exact versions', () => {
  const lock = parse(readLockFile()) as {
    importers: Record<string, Record<string, Record<string, { specifier: string }>>>;
  };
  const folders = ['packages', 'services', 'loadtest', 'tests'].flatMap((parent) =>
    readdirSync(join(ROOT, parent)).map((folder) => `${parent}/${folder}`),
  );
  const projects = ['.', ...folders.filter((folder) => existsSync(join(ROOT, folder, 'package.json')))];
  expect(Object.keys(lock.importers).toSorted()).toEqual(projects.toSorted());
  const fields = ['dependencies', 'devDependencies', 'optionalDependencies'] as const;
  for (const path of projects) {
    const manifest = JSON.parse(read(join(path, 'package.json'))) as Record<string, Record<string, string>>;
    const importer = lock.importers[path];
    for (const field of fields) {
      const asked = manifest[field] ?? {};
      const locked = Object.entries(importer![field] ?? {}).map(([key, { specifier }]) => [key, specifier]);
      expect(Object.fromEntries(locked), `${field} of ${path}`).toEqual(asked);
      for (const version of Object.values(asked)) expect(version, path).toMatch(/^(?:workspace:\*|\d[\w.-]*)$/);
    }
  }
});

test('npm start and npm test install what is locked, and nothing else', () => {
  expect(read('scripts/bootstrap.mjs')).toContain("'install', '--frozen-lockfile'");
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  // What npm would run by itself, before and after others.
  expect(Object.keys(scripts).filter((script) => /^(?:pre|post)|^prepare$/.test(script))).toEqual([]);
});

test('install scripts run for the packages named in pnpm-workspace.yaml, each of which has one, and for no other', () => {
  const { allowBuilds } = parse(read('pnpm-workspace.yaml')) as { allowBuilds: Record<string, boolean> };
  const withScripts = packages
    .filter((each) => {
      const manifest = readManifest(each);
      const scripts = Object.keys(manifest?.scripts ?? {});
      return manifest?.hasBindingGyp || scripts.some((script) => /^(?:pre|post)?install$/.test(script));
    })
    .map((each) => each.name);
  expect(withScripts.length).toBeGreaterThan(1);
  // Whoever adds a package with a script decides: true and why, or false.
  expect(withScripts.filter((each) => !(each in allowBuilds))).toEqual([]);
  const installed = packages.filter((each) => readManifest(each) !== undefined).map((each) => each.name);
  const idle = Object.keys(allowBuilds).filter((each) => installed.includes(each) && !withScripts.includes(each));
  expect(idle).toEqual([]);
  expect(Object.keys(allowBuilds).filter((each) => !packages.some((locked) => locked.name === each))).toEqual([]);
});

/** Lines that accept a weakness without saying why, behind it or in the line before. */
function findUnexplained(text: string): string[] {
  const lines = text.split('\n');
  return lines.filter((line, index) => {
    if (!/^ *- *["']?GHSA-/.test(line)) return false;
    const before = lines[index - 1] ?? '';
    return ![line, /^ *#/.test(before) ? before : ''].some((each) => /#\s*\S.{20,}/.test(each));
  });
}

test('every weakness that is accepted is accepted for a reason', () => {
  expect(findUnexplained(read('pnpm-workspace.yaml'))).toEqual([]);
});

test('a weakness that is accepted without a reason is found', () => {
  const accept = (...lines: string[]) => ['auditConfig:', '  ignoreGhsas:', ...lines].join('\n');
  const line = '    - GHSA-aaaa-bbbb-cccc';
  const reason = '# Only in the test runner, which never sees foreign input.';
  expect(findUnexplained(accept(`    ${reason}`, line))).toEqual([]);
  expect(findUnexplained(accept(`    - "GHSA-aaaa-bbbb-cccc" ${reason}`))).toEqual([]);
  expect(findUnexplained(accept(line))).toEqual([line]);
  expect(findUnexplained(accept('    # fine', line))).toEqual([line]);
  // The reason of one is none of the next.
  expect(findUnexplained(accept(`    ${reason}`, line, line))).toEqual([line]);
  expect(findUnexplained(accept(`${line}-0 ${reason}`, line))).toEqual([line]);
});

test('every package has a licence, and it is one of those that are allowed', () => {
  const licences = listLicences();
  expect(licences.filter(({ licence }) => licence === 'unknown').map(name)).toEqual([]);
  expect(findDeniedLicences(licences).map((each) => `${name(each)}: ${each.licence}`)).toEqual([]);
});

test('a licence that is not allowed is denied, for what runs and for tools apart', () => {
  const packageUnder = (licence: string, isProduction: boolean) => ({
    name: 'x',
    version: '1.0.0',
    licence,
    isProduction,
    builds: 1,
  });
  const isDenied = (licence: string, isProduction: boolean) =>
    findDeniedLicences([packageUnder(licence, isProduction)]).length === 1;
  for (const licence of [
    'GPL-3.0-only',
    'AGPL-3.0',
    'SSPL-1.0',
    'BUSL-1.1',
    'UNLICENSED',
    'unknown',
    'MIT AND GPL-3.0',
  ]) {
    expect(isDenied(licence, true), licence).toBe(true);
    expect(isDenied(licence, false), licence).toBe(true);
  }
  expect(isDenied('MPL-2.0', true)).toBe(true);
  expect(isDenied('MPL-2.0', false)).toBe(false);
  for (const licence of ['MIT', 'GPL-2.0-only OR MIT', 'MIT OR CC0-1.0'])
    expect(isDenied(licence, true), licence).toBe(false);
});

test('the package manager is pinned, and everything runs on the one Node that is locked for all platforms', () => {
  expect(read('scripts/bootstrap.mjs')).toMatch(/const PNPM = 'pnpm@\d+\.\d+\.\d+';/);
  const { optionalDependencies } = JSON.parse(read('package.json')) as { optionalDependencies: Record<string, string> };
  const builds = Object.entries(optionalDependencies).filter(([key]) => key.startsWith('node-'));
  expect(builds.map(([, version]) => version)).toEqual(Array(4).fill(process.versions.node));
});
