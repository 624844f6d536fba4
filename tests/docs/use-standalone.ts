import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { listNodeEnvironment, type RunningService, startService } from '../../packages/local-servers/index.ts';
import { type Receiver, startReceiver } from '../../packages/testkit/index.ts';

/** Starting the embedded Postgres from nothing takes some seconds, on a loaded machine more. */
const START_LIMIT_MS = 120_000;

/** For all tests of one file: Punctual as `npm start -- --ephemeral` runs it, on a free port, and an endpoint. */
export function useStandalone(): { readonly url: string; readonly receiver: Receiver } {
  let service: RunningService | undefined;
  let receiver: Receiver | undefined;
  let folder: string | undefined;
  beforeAll(async () => {
    receiver = await startReceiver();
    folder = mkdtempSync(join(tmpdir(), 'punctual-docs-'));
    service = await startService({
      name: 'standalone',
      entry: join(import.meta.dirname, 'ephemeral-standalone.ts'),
      // Nothing else of our environment: whoever runs the tests may have DATABASE_URL or AUTH set.
      env: listNodeEnvironment(),
      logFile: join(folder, 'standalone.log'),
      log: () => {},
    });
  }, START_LIMIT_MS);
  afterAll(async () => {
    await service?.stop();
    await receiver?.close();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  }, START_LIMIT_MS);
  return {
    get url() {
      return service!.url;
    },
    get receiver() {
      return receiver!;
    },
  };
}
