import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type HttpRequest, parseHttpFile, RestClient } from './rest-client.ts';
import { useStandalone } from './use-standalone.ts';

/** All requests one after another, of which some wait for timers of a second or two. */
const FILE_LIMIT_MS = 120_000;

const file = parseHttpFile(readFileSync(join(import.meta.dirname, '../../docs/punctual.http'), 'utf8'));
const standalone = useStandalone();

const describeRequest = ({ line, method, url }: HttpRequest) => `line ${line}: ${method} ${url}`;

test('every request of punctual.http says what it is expected to answer', () => {
  expect(file.requests.length).toBeGreaterThan(30);
  expect(file.requests.filter((request) => request.expectedStatus === undefined).map(describeRequest)).toEqual([]);
});

test('every route of the api is in punctual.http', async () => {
  const document = (await (await fetch(`${standalone.url}/v1/openapi.json`)).json()) as {
    paths: Record<string, Record<string, unknown>>;
  };
  const routes = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  const covered = file.requests.map(({ method, url }) => {
    const path = url.replace('{{baseUrl}}', '').replace(/\?.*$/, '');
    return { method, steps: path.split('/') };
  });
  const isCovered = (route: string) => {
    const [method, path = ''] = route.split(' ');
    const steps = path.split('/');
    return covered.some(
      (request) =>
        request.method === method &&
        request.steps.length === steps.length &&
        // `{id}` stands for a value of an earlier answer; `batch` and the like must be named.
        steps.every((step, index) =>
          step.startsWith('{') ? request.steps[index]!.startsWith('{{') : step === request.steps[index],
        ),
    );
  };
  expect(routes.length).toBeGreaterThan(30);
  expect(routes.filter((route) => !isCovered(route))).toEqual([]);
});

test(
  'punctual.http works as shipped: every request, sent in order, answers what stands above it',
  async () => {
    const variables = new Map(file.variables);
    // The two addresses are the only things that differ from a plain `npm start` and `npm run receiver`.
    expect(variables.get('baseUrl')).toBe('http://127.0.0.1:8088');
    expect(variables.get('receiverUrl')).toBe('http://127.0.0.1:9090');
    variables.set('baseUrl', standalone.url);
    variables.set('receiverUrl', standalone.receiver.url);
    const client = new RestClient(variables);
    for (const request of file.requests) {
      const answer = await client.send(request);
      expect(answer.status, `${describeRequest(request)} answered ${answer.text}`).toBe(request.expectedStatus);
    }
    expect(standalone.receiver.requests.map(({ path }) => path)).toEqual(expect.arrayContaining(['/hello', '/mail']));
  },
  FILE_LIMIT_MS,
);
