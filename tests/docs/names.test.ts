import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { listSettingNames } from '../../scripts/describe-docs/describe-configuration.ts';
import { MADE_DOCS } from '../../scripts/describe-docs.ts';
import { listFences, listFiles, listMarkdownFiles, type MarkdownFile, ROOT, withoutFences } from './markdown-files.ts';

const files = listMarkdownFiles();
const scripts = Object.keys(
  (JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> }).scripts,
);
const sources = listFiles(ROOT, (name) => /\.(ts|mjs)$/.test(name)).map((path) => ({
  path,
  text: readFileSync(join(ROOT, path), 'utf8'),
}));

/** Commands of npm and pnpm themselves. */
const PACKAGE_MANAGER_COMMANDS = ['run', 'start', 'test', 'install', 'deploy', 'exec', 'workspace'];
/** Names of others' that look like settings: of Linux, of Node, of a database image, of docker-compose.yml, and of OpenTelemetry. */
const FOREIGN_NAMES = /^(CAP|NODE|POSTGRES|GRAFANA|LISTEN|OTEL)_/;

/** Findings as `file: what`, so that a failure says where to look. */
function find(
  pattern: RegExp,
  texts: readonly MarkdownFile[],
  isWrong: (match: RegExpMatchArray, file: MarkdownFile) => boolean,
) {
  return texts.flatMap((file) =>
    [...file.text.matchAll(pattern)]
      .filter((match) => isWrong(match, file))
      .map((match) => `${file.path}: ${match[0]}`),
  );
}

/** As GitHub makes anchors of headings. */
function listAnchors(text: string): string[] {
  return [...withoutFences(text).matchAll(/^#{1,6} (.+)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

test('there is documentation to check', () => {
  expect(files.map(({ path }) => path)).toEqual(expect.arrayContaining(['README.md', 'docs/architecture.md']));
});

test('every relative link in a Markdown file leads to a file, and to a heading that is there', () => {
  const prose = files.map(({ path, text }) => ({ path, text: withoutFences(text) }));
  const wrong = find(/\]\(([^)\s]+)\)/g, prose, ([, target], { path }) => {
    if (/^[a-z]+:/.test(target!)) return false;
    const [relative = '', anchor] = target!.split('#');
    const absolute = relative === '' ? join(ROOT, path) : join(ROOT, dirname(path), relative);
    if (!existsSync(absolute)) return true;
    return anchor !== undefined && !listAnchors(readFileSync(absolute, 'utf8')).includes(anchor);
  });
  expect(wrong).toEqual([]);
});

test('every script named in a document is in package.json', () => {
  const isMissing = ([, name]: RegExpMatchArray) => !scripts.includes(name!);
  expect(find(/\bnpm run ([a-z][a-z-]*)/g, files, isMissing)).toEqual([]);
  expect(
    find(
      /\bpnpm ([a-z][a-z-]*)/g,
      files,
      ([, name]) => !scripts.includes(name!) && !PACKAGE_MANAGER_COMMANDS.includes(name!),
    ),
  ).toEqual([]);
});

test('every script that the code tells people to run is in package.json', () => {
  const told = sources.filter(({ path }) => !path.includes('.test.') && !path.startsWith('tests/'));
  // `pnpm` counts in code quotes, or at the beginning of a line of a usage text.
  const pattern = /(?:\bnpm run |[`(]pnpm |^ {2}pnpm )([a-z]+)\b/gm;
  expect(find(pattern, told, () => true).length).toBeGreaterThan(5);
  const isUnknown = ([, name]: RegExpMatchArray) =>
    !scripts.includes(name!) && !PACKAGE_MANAGER_COMMANDS.includes(name!);
  expect(find(pattern, told, isUnknown)).toEqual([]);
});

test('every program named in a document is there', () => {
  expect(
    find(/\bnode ((?:[\w-]+\/)+[\w.-]+\.(?:ts|mjs))/g, files, ([, path]) => !existsSync(join(ROOT, path!))),
  ).toEqual([]);
});

test('every file named in a document as `folder/file` is there', () => {
  const isMissing = ([, path]: RegExpMatchArray) => !existsSync(join(ROOT, path!));
  expect(find(/`((?:packages|services|scripts|loadtest|tests|docs|manifests)\/[\w./-]+)`/g, files, isMissing)).toEqual(
    [],
  );
});

test('every setting named in a document exists', () => {
  const settings = listSettingNames();
  const constants = new Set(
    sources.flatMap(({ text }) => [...text.matchAll(/\bconst ([A-Z][A-Z0-9_]*)\b/g)].map(([, name]) => name!)),
  );
  const wrong = find(/\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b/g, files, ([name], { text }) => {
    // A variable of the reader's own shell is used with a dollar sign.
    const isOfShell = text.includes(`$${name}`);
    return !settings.includes(name) && !constants.has(name) && !isOfShell && !FOREIGN_NAMES.test(name);
  });
  expect(wrong).toEqual([]);
});

test('every variable set before a command in a document is a setting', () => {
  const settings = listSettingNames();
  const commands = files.flatMap(({ path, text }) => [
    ...listFences(text).map((fence) => ({ path, text: fence.text })),
    ...[...withoutFences(text).matchAll(/`([^`]+)`/g)].map(([, code]) => ({ path, text: code! })),
  ]);
  const set = find(/^ *((?:[A-Z_]+=\S+ +)+)(?:npm|npx|pnpm|node) /gm, commands, ([, assignments]) =>
    [...assignments!.matchAll(/([A-Z_]+)=/g)].some(([, name]) => !settings.includes(name!)),
  );
  expect(set).toEqual([]);
});

test('every metric named in a document exists', () => {
  const listed = [...MADE_DOCS['docs/metrics.md']!().matchAll(/^\| `(\w+)` \| (\w+)/gm)];
  const metrics = new Set(
    listed.flatMap(([, name, type]) =>
      (type === 'histogram' ? ['', '_bucket', '_sum', '_count'] : ['']).map((end) => name! + end),
    ),
  );
  expect(metrics.size).toBeGreaterThan(30);
  expect(
    find(
      /\b(?:api|scheduler|worker)_[a-z_]+|\btimer_\w+_seconds/g,
      files,
      ([name]) => !metrics.has(name) && name !== 'api_keys',
    ),
  ).toEqual([]);
});

test('every code of an answer that a document names is one of the api', () => {
  const api = sources
    .filter(({ path }) => /^(services\/api-service|packages\/runtime)\//.test(path) && !path.includes('test'))
    .map(({ text }) => text);
  const isUnknown = ([, code]: RegExpMatchArray) => !api.some((text) => text.includes(`'${code}'`));
  const named = find(/\b[45]\d\d `([a-z_]+)`/g, files, () => true);
  expect(named.length).toBeGreaterThan(20);
  expect(find(/\b[45]\d\d `([a-z_]+)`/g, files, isUnknown)).toEqual([]);
});
