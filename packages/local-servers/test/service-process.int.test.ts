import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startService } from '../service-process.ts';
import { UNREADY_SERVICE } from './stack-fixture.ts';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'punctual-local-servers-test-'));
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

test('a service that does not get ready tells what it answered last', async () => {
  const lines: string[] = [];
  const start = startService({
    name: 'api-1',
    entry: UNREADY_SERVICE,
    env: { HOST: '127.0.0.1' },
    logFile: join(folder, 'api-1.log'),
    readyTimeoutMs: 3_000,
    log: (line) => lines.push(line),
  });
  await expect(start).rejects.toMatchObject({
    code: 'start_timed_out',
    message: expect.stringMatching(
      /^api-1 was not ready after 3 s \(asked whether it is, it answered 503: \{"checks":\{"postgres":\{"status":"down"\}\}\}\)\. The end of its log, /,
    ),
  });
  expect(lines).toEqual([]);
});
