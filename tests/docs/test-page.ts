import { expect, test } from 'vitest';
import { listFences, readMarkdownFile } from './markdown-files.ts';
import { type HttpAnswer, parseHttpFile, parseJson, RestClient } from './rest-client.ts';
import { useStandalone } from './use-standalone.ts';

/** Stands for a value that differs each time. */
const ANYTHING = '…';
export const PAGE_LIMIT_MS = 120_000;

/** Turns an example into a pattern: fields that it leaves out may be there, lists are complete. */
export function toPattern(example: unknown): unknown {
  if (example === ANYTHING) return expect.anything();
  if (Array.isArray(example)) return example.map(toPattern);
  if (typeof example !== 'object' || example === null) return example;
  return expect.objectContaining(
    Object.fromEntries(Object.entries(example).map(([key, value]) => [key, toPattern(value)])),
  );
}

/**
 * Tests a page of requests (`http`) and answers (`json answer`): sends them in order, and compares. `others`: what else it may
 * have in fences, which is not looked at.
 */
export function testPage(path: string, others: readonly string[] = []): void {
  const fences = listFences(readMarkdownFile(path).text);
  const standalone = useStandalone();

  test(`every fenced block of ${path} is a request or an answer${others.length > 0 ? `, or ${others.join(', ')}` : ''}`, () => {
    expect(new Set(fences.map(({ info }) => info))).toEqual(new Set(['http', 'json answer', ...others]));
  });

  test(
    `every request of ${path} is answered as the page says`,
    async () => {
      const variables = { baseUrl: standalone.url, receiverUrl: standalone.receiver.url };
      const client = new RestClient(new Map(Object.entries(variables)));
      let answer: HttpAnswer | undefined;
      for (const { info, text, line } of fences) {
        const where = `${path}, block at line ${line}`;
        if (info === 'json answer') {
          expect(parseJson(answer!), where).toEqual(toPattern(JSON.parse(text)));
          continue;
        }
        if (info !== 'http') continue;
        const { requests } = parseHttpFile(text);
        expect(requests, where).toHaveLength(1);
        answer = await client.send(requests[0]!);
        expect(answer.status, `${where}: ${answer.text}`).toBe(requests[0]!.expectedStatus);
      }
    },
    PAGE_LIMIT_MS,
  );
}
