import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from './markdown-files.ts';

interface ComposeFile {
  services: Record<
    string,
    {
      image: string;
      ports: string[];
      volumes: string[];
      healthcheck: { test: string[]; interval: string };
      environment?: Record<string, string>;
    }
  >;
  volumes: Record<string, unknown>;
}

// The parser comes with the api's OpenAPI library: a dependency more, for one file, would not be worth it.
const requireFromApi = createRequire(join(ROOT, 'services/api-service/package.json'));
const { parse } = createRequire(requireFromApi.resolve('@fastify/swagger'))('yaml') as {
  parse: (text: string) => unknown;
};

const text = readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8');
const compose = parse(text) as ComposeFile;
const services = Object.entries(compose.services);

test('docker-compose.yml offers a Postgres and a Redis, and nothing else', () => {
  expect(Object.keys(compose.services).toSorted()).toEqual(['postgres', 'redis']);
});

test.each(services)('the image of %s is pinned to one release', (_, { image }) => {
  expect(image).toMatch(/^[a-z]+:\d+(\.\d+)+$/);
});

test.each(services)('%s listens on the loopback address only', (_, { ports }) => {
  expect(ports.length).toBeGreaterThan(0);
  for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
});

test.each(services)('%s says when it is ready, and keeps its data in a volume that is declared', (_, service) => {
  expect(service.healthcheck.test[0]).toBe('CMD');
  expect(service.volumes.length).toBeGreaterThan(0);
  for (const volume of service.volumes) expect(Object.keys(compose.volumes)).toContain(volume.split(':')[0]);
});

test('the Postgres is of the major version that Punctual runs on', () => {
  expect(compose.services.postgres?.image).toMatch(/^postgres:18\./);
});

test('the addresses in the comments are those of the services', () => {
  const urls = [...text.matchAll(/^#.*DATABASE_URL=(\S+) REDIS_URL=(\S+)/gm)].map(([, ...found]) =>
    found.map((url) => new URL(url)),
  );
  expect(urls.length).toBeGreaterThan(0);
  for (const [database, redis] of urls) {
    const { POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB } = compose.services.postgres!.environment!;
    expect([database!.username, database!.password, database!.pathname]).toEqual([
      POSTGRES_USER,
      POSTGRES_PASSWORD,
      `/${POSTGRES_DB}`,
    ]);
    expect(compose.services.postgres!.ports).toContain(`${database!.host}:5432`);
    expect(compose.services.redis!.ports).toContain(`${redis!.host}:6379`);
  }
});
