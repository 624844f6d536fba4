import { expect, test } from 'vitest';
import { listFences, readMarkdownFile } from './markdown-files.ts';
import { type HttpAnswer, type HttpRequest, parseHttpFile, parseJson, RestClient } from './rest-client.ts';
import { useStandalone } from './use-standalone.ts';

/** Stands for a value that differs each time. */
const ANYTHING = '…';
const PAGE_LIMIT_MS = 120_000;

const fences = listFences(readMarkdownFile('docs/pull-workers.md').text);
const standalone = useStandalone();

/** Turns an example into a pattern: fields that it leaves out may be there, lists are complete. */
function toPattern(example: unknown): unknown {
  if (example === ANYTHING) return expect.anything();
  if (Array.isArray(example)) return example.map(toPattern);
  if (typeof example !== 'object' || example === null) return example;
  return expect.objectContaining(
    Object.fromEntries(Object.entries(example).map(([key, value]) => [key, toPattern(value)])),
  );
}

function parseRequest(text: string): HttpRequest {
  const { requests } = parseHttpFile(text);
  expect(requests).toHaveLength(1);
  return requests[0]!;
}

test('every fenced block of pull-workers.md is a request or an answer', () => {
  expect(new Set(fences.map(({ info }) => info))).toEqual(new Set(['http', 'json answer']));
});

test(
  'every request of pull-workers.md is answered as the page says',
  async () => {
    const client = new RestClient(new Map([['baseUrl', standalone.url]]));
    let answer: HttpAnswer | undefined;
    for (const { info, text, line } of fences) {
      const where = `docs/pull-workers.md, block at line ${line}`;
      if (info === 'http') {
        const request = parseRequest(text);
        answer = await client.send(request);
        expect(answer.status, `${where}: ${answer.text}`).toBe(request.expectedStatus);
      } else if (info === 'json answer') {
        expect(parseJson(answer!), where).toEqual(toPattern(JSON.parse(text)));
      }
    }
  },
  PAGE_LIMIT_MS,
);
