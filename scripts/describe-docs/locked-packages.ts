// What pnpm-lock.yaml locks, and what the installed packages say of themselves. Nothing is asked of the network.
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const STORE = join(ROOT, 'node_modules/.pnpm');

/** One package of the lock file, whoever needs it and with whatever peers. */
export interface LockedPackage {
  name: string;
  version: string;
  integrity: string | undefined;
  /** Part of what runs in production: a service needs it, or something that a service needs. */
  isProduction: boolean;
  /** Who names it as optional: packages of which it is one platform's build, or a workspace project. */
  optionalOf: readonly string[];
}

/** What a package says of itself, where it is installed. */
export interface Manifest {
  license?: unknown;
  scripts?: Record<string, string>;
  hasBindingGyp: boolean;
}

type Dependencies = Record<string, string>;
interface Snapshot {
  dependencies?: Dependencies;
  optionalDependencies?: Dependencies;
}
interface Importer {
  dependencies?: Record<string, { version: string }>;
  devDependencies?: Record<string, { version: string }>;
  optionalDependencies?: Record<string, { version: string }>;
}
interface Lock {
  importers: Record<string, Importer>;
  packages: Record<string, { resolution: { integrity?: string } }>;
  snapshots: Record<string, Snapshot>;
}

export function readLockFile(): string {
  return readFileSync(join(ROOT, 'pnpm-lock.yaml'), 'utf8');
}

/** Every package of the lock file, by name and version. */
export function listLockedPackages(): LockedPackage[] {
  const lock = parse(readLockFile()) as Lock;
  const production = listProduction(lock);
  const optionalOf = listOptionalParents(lock);
  return Object.entries(lock.packages).map(([id, { resolution }]) => {
    const at = id.lastIndexOf('@');
    return {
      name: id.slice(0, at),
      version: id.slice(at + 1),
      integrity: resolution.integrity,
      isProduction: production.has(id),
      optionalOf: optionalOf.get(id) ?? [],
    };
  });
}

/** `name@1.0.0(peer@2.0.0)` without the peers. */
const withoutPeers = (id: string): string => id.replace(/\(.*$/, '');

/** Packages that the services need, by way of whatever: development dependencies of nobody are among them. */
function listProduction({ importers, snapshots }: Lock): Set<string> {
  const seenImporters = new Set<string>();
  const seen = new Set<string>();
  const visitSnapshot = (id: string): void => {
    if (seen.has(id)) return;
    seen.add(id);
    const { dependencies = {}, optionalDependencies = {} } = snapshots[id] ?? {};
    for (const [name, version] of Object.entries({ ...dependencies, ...optionalDependencies })) {
      visitSnapshot(`${name}@${version}`);
    }
  };
  const visitImporter = (path: string): void => {
    if (seenImporters.has(path)) return;
    seenImporters.add(path);
    const { dependencies = {}, optionalDependencies = {} } = importers[path] ?? {};
    for (const [name, { version }] of Object.entries({ ...dependencies, ...optionalDependencies })) {
      if (version.startsWith('link:')) visitImporter(posix.join(path, version.slice('link:'.length)));
      else visitSnapshot(`${name}@${version}`);
    }
  };
  for (const path of Object.keys(importers)) if (path.startsWith('services/')) visitImporter(path);
  return new Set([...seen].map(withoutPeers));
}

function listOptionalParents({ importers, snapshots }: Lock): Map<string, string[]> {
  const parents = new Map<string, string[]>();
  const add = (parent: string, id: string) => parents.set(id, [...(parents.get(id) ?? []), parent]);
  for (const [parent, { optionalDependencies = {} }] of Object.entries(snapshots)) {
    for (const [name, version] of Object.entries(optionalDependencies)) add(parent, withoutPeers(`${name}@${version}`));
  }
  for (const [parent, { optionalDependencies = {} }] of Object.entries(importers)) {
    for (const [name, { version }] of Object.entries(optionalDependencies))
      add(parent, withoutPeers(`${name}@${version}`));
  }
  return parents;
}

/** The manifest of a package that is installed; undefined for one that is not, such as another platform's. */
export function readManifest({ name, version }: Pick<LockedPackage, 'name' | 'version'>): Manifest | undefined {
  const folderName = `${name.replaceAll('/', '+')}@${version}`;
  const folder = listStore().find((each) => each === folderName || each.startsWith(`${folderName}_`));
  if (folder === undefined) return undefined;
  const path = join(STORE, folder, 'node_modules', name);
  const manifest = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8')) as Omit<Manifest, 'hasBindingGyp'>;
  return { ...manifest, hasBindingGyp: readdirSync(path).includes('binding.gyp') };
}

let store: readonly string[] | undefined;

function listStore(): readonly string[] {
  store ??= readdirSync(STORE);
  return store;
}
