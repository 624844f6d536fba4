import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { VERSION } from '@punctual/runtime';
import type { From, PropertyInstruction } from 'dockerfile-ast';
import { expect, test } from 'vitest';
import { readApiConfig } from '../../services/api-service/config.ts';
import { readSchedulerConfig } from '../../services/scheduler-service/config.ts';
import { readWorkerConfig } from '../../services/worker-service/config.ts';
import { ROOT } from './compose-file.ts';
import { readContextFilter, readInstructions } from './dockerfile.ts';

const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const instructions = readInstructions(read('Dockerfile'));
const list = (keyword: string) => instructions.filter((each) => each.getKeyword() === keyword);
const last = (keyword: string) => list(keyword).at(-1)?.getRawArgumentsContent();
const manifest = JSON.parse(read('package.json')) as { version: string; license: string };

test('the base is one release, by its digest, with the Node that everything else is tested on', () => {
  const bases = list('FROM').map((each) => (each as From).getImage());
  expect(bases).toHaveLength(2);
  for (const base of bases) expect(base).toMatch(/^node:26\.10\.0-trixie-slim@sha256:[0-9a-f]{64}$/);
  expect(new Set(bases).size).toBe(1);
  expect(bases[0]).toContain(`node:${process.versions.node}-`);
});

test('packages come from the lock file, by the package manager of the repository, without those for development', () => {
  const manager = /const PNPM = '(pnpm@[\d.]+)';/.exec(read('scripts/bootstrap.mjs'))![1];
  const commands = list('RUN').map((each) => each.getRawArgumentsContent());
  expect(commands[0]).toContain(`${manager} install --frozen-lockfile --prod --no-optional`);
  for (const command of commands) expect(command).toContain(`npx --yes ${manager} `);
  expect(list('ADD')).toEqual([]);
});

test('what runs is Node itself, as a user that owns nothing, and it is told to drain', () => {
  expect(JSON.parse(last('ENTRYPOINT')!)).toEqual(['node', 'scripts/image/main.ts']);
  expect(last('USER')).toBe('10001:10001');
  expect(last('STOPSIGNAL')).toBe('SIGTERM');
  expect(last('HEALTHCHECK')).toContain('CMD ["node", "scripts/image/health.mjs"]');
  // A command of its own would choose a service for somebody who forgot to.
  expect(last('CMD')).toBeUndefined();
});

test('its ports are those of the services, and the health check asks at each of them', () => {
  const needed = { DATABASE_URL: 'postgres://localhost/punctual' };
  const ports = [readApiConfig, readSchedulerConfig, readWorkerConfig].map((read) => read(needed).PORT);
  expect(last('EXPOSE')!.split(' ').map(Number)).toEqual(ports);
  expect(read('scripts/image/health.mjs')).toContain(`const PORTS = [${ports.join(', ')}];`);
});

test('its labels are true', () => {
  const labels = list('LABEL').flatMap((each) => (each as PropertyInstruction).getProperties());
  const of = (name: string) => labels.find((each) => each.getName() === `org.opencontainers.image.${name}`)?.getValue();
  expect([of('title'), of('version'), of('licenses')]).toEqual(['Punctual', VERSION, manifest.license]);
  expect(manifest.version).toBe(VERSION);
  expect(of('base.name')).toBe(`docker.io/library/${(list('FROM')[1] as From).getImage()!.split('@')[0]}`);
});

test('every program of the entry is in the image', () => {
  const programs = [...read('scripts/image/main.ts').matchAll(/program: '([^']+)'/g)].map(([, path]) => path!);
  expect(programs.length).toBeGreaterThan(5);
  const isIncluded = readContextFilter(ROOT);
  expect(programs.filter((path) => !existsSync(join(ROOT, path)) || !isIncluded(path))).toEqual([]);
});

test('secrets, tests and what this machine has installed stay out of the build', () => {
  const isIncluded = readContextFilter(ROOT);
  const outside = ['.env', '.git', '.git/config', '.punctual', 'node_modules', 'services/api-service/node_modules'];
  const tests = [
    'tests',
    'loadtest',
    'packages/testkit',
    'services/api-service/test',
    'services/api-service/config.test.ts',
  ];
  for (const path of [...outside, ...tests, 'docs', 'Dockerfile', 'docker-compose.yml', 'scripts/test.ts'])
    expect(isIncluded(path), path).toBe(false);
  for (const path of ['package.json', 'pnpm-lock.yaml', 'packages/database/migrations', 'services/api-service/main.ts'])
    expect(isIncluded(path), path).toBe(true);
});
