import { expect, test } from 'vitest';
import { listFences, readMarkdownFile } from './markdown-files.ts';
import { type HttpAnswer, type HttpRequest, parseHttpFile, parseJson, RestClient } from './rest-client.ts';
import { PAGE_LIMIT_MS, toPattern } from './test-page.ts';
import { useStandalone } from './use-standalone.ts';

const PAGES = ['docs/workflows.md', 'docs/data-flow.md'];
const readFences = (page: string) => listFences(readMarkdownFile(page).text);
const standalone = useStandalone();

function parseRequest(text: string): HttpRequest {
  const { requests } = parseHttpFile(text);
  expect(requests).toHaveLength(1);
  return requests[0]!;
}

test.each(PAGES)('every fenced block of %s is a request, an answer, what an endpoint gets, or a drawing', (page) => {
  const fences = readFences(page);
  expect(new Set(fences.map(({ info }) => info))).toEqual(new Set(['http', 'json answer', 'json received', '']));
  expect(fences.filter(({ info, text }) => info === '' && /[{"]/.test(text))).toEqual([]);
});

test.each(PAGES)(
  'every request of %s is answered as the page says',
  async (page) => {
    const fences = readFences(page);
    const variables = new Map([
      ['baseUrl', standalone.url],
      ['receiverUrl', standalone.receiver.url],
    ]);
    const client = new RestClient(variables);
    let answer: HttpAnswer | undefined;
    for (const { info, text, line } of fences) {
      const where = `${page}, block at line ${line}`;
      if (info === 'http') {
        const request = parseRequest(text);
        answer = await client.send(request);
        expect(answer.status, `${where}: ${answer.text}`).toBe(request.expectedStatus);
      } else if (info === 'json answer') {
        expect(parseJson(answer!), where).toEqual(toPattern(JSON.parse(text)));
      } else if (info === 'json received') {
        const example = JSON.parse(text) as { taskKey: string };
        await expect
          .poll(() => standalone.receiver.requests.find(({ path }) => path === `/${example.taskKey}`), {
            timeout: 10_000,
          })
          .toBeDefined();
        const received = standalone.receiver.requests.find(({ path }) => path === `/${example.taskKey}`)!;
        const body = JSON.parse(received.body) as object;
        expect(body, where).toEqual(toPattern(example));
        // Here the example is complete.
        expect(Object.keys(body), where).toEqual(Object.keys(example));
      }
    }
  },
  PAGE_LIMIT_MS,
);
