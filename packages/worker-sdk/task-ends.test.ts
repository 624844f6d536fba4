import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { Client } from './client.ts';
import { OutputError, TaskEnds } from './task-ends.ts';

interface Told {
  path: string;
  bytes: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into whatever came.
  body: any;
}

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

/** Answers as the interface does; `refuse` gives the status with which a request is refused. */
async function open(refuse: (told: Told) => number | undefined = () => undefined) {
  const told: Told[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    const body = JSON.parse(bytes.toString());
    const each = { path: request.url!, bytes: bytes.length, body };
    told.push(each);
    const status = refuse(each) ?? 200;
    response.writeHead(status, { 'content-type': 'application/json' });
    if (status !== 200) response.end(JSON.stringify({ status, code: 'refused', detail: 'no' }));
    else response.end(JSON.stringify({ results: (body.tasks ?? []).map(() => ({ status: 200 })) }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => new Promise((resolve) => server.close(resolve)));
  const { port } = server.address() as AddressInfo;
  const ends = new TaskEnds(new Client({ url: `http://127.0.0.1:${port}`, apiKey: undefined }));
  const idsOf = ({ body }: Told) => body.tasks.map(({ id }: { id: string }) => id);
  return { ends, told, batches: () => told.filter(({ path }) => path === '/v1/tasks/batch/complete'), idsOf };
}

const task = (id: string) => ({ id, leaseToken: `token-${id}` });

describe('an output', () => {
  it('that can not be JSON, or is too large, fails its own task for good; the others of the batch are completed', async () => {
    const { ends, told, batches, idsOf } = await open();
    const ring: Record<string, unknown> = {};
    ring.self = ring;
    const odd: [string, unknown, RegExp][] = [
      ['bigint', { n: 1n }, /can not be written as JSON/],
      ['cycle', ring, /can not be written as JSON/],
      ['large', 'é'.repeat(32_768), /65538 bytes as JSON; it may have 65536/],
    ];
    const good = [ends.complete(task('a'), { ok: true }), ends.complete(task('b'), 'x'.repeat(65_534))];
    for (const [id, output, reason] of odd) {
      const ended = ends.complete(task(id), output);
      await expect(ended).rejects.toBeInstanceOf(OutputError);
      await expect(ended).rejects.toThrow(reason);
      const failures = told.filter(({ path }) => path === `/v1/tasks/${id}/fail`);
      expect(failures.map(({ body }) => body)).toEqual([
        { leaseToken: `token-${id}`, error: expect.stringMatching(reason), retryable: false },
      ]);
    }
    await Promise.all([...good, ends.complete(task('c'), undefined)]);
    expect(batches().flatMap(idsOf)).toEqual(['a', 'b', 'c']);
    expect(batches()[0]!.body.tasks[0]).toEqual({ ...task('a'), output: { ok: true } });
  });

  it('is sent with as many others as 4 MiB take', async () => {
    const { ends, batches, idsOf } = await open();
    const ids = Array.from({ length: 150 }, (_, n) => `t${n}`);
    await Promise.all(ids.map((id) => ends.complete(task(id), 'x'.repeat(60_000))));
    expect(batches().flatMap(idsOf).toSorted()).toEqual(ids.toSorted());
    expect(Math.max(...batches().map(({ bytes }) => bytes))).toBeLessThan(4 * 1_048_576);
  });

  it('is sent with fewer others when that is too much, and fails its task when it is refused alone', async () => {
    const { ends, told, batches } = await open(({ body, bytes }) => {
      if (!body.tasks) return undefined;
      if (bytes > 2_000) return 413;
      return body.tasks.some(({ output }: { output: unknown }) => output === 'odd') ? 400 : undefined;
    });
    const ids = Array.from({ length: 40 }, (_, n) => `t${n}`);
    const ended = await Promise.allSettled(
      ids.map((id, index) => ends.complete(task(id), index === 17 ? 'odd' : 'x'.repeat(100))),
    );
    expect(ended.flatMap(({ status }, index) => (status === 'rejected' ? [index] : []))).toEqual([17]);
    expect(told.filter(({ path }) => path.endsWith('/fail')).map(({ path, body }) => [path, body.retryable])).toEqual([
      ['/v1/tasks/t17/fail', false],
    ]);
    expect(batches().length).toBeLessThan(40);
  });
});
