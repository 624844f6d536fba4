import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listNodeEnvironment, type RunningService, startService } from '@punctual/local-servers';
import { TEST_KEYS } from '@punctual/testkit';

const ENTRY = join(import.meta.dirname, '../../services/api-service/main.ts');

export interface FuzzedApi {
  service: RunningService;
  operatorKey: string;
  /** Lines that the api logged about defects. */
  listDefects(): string[];
  /** Memory of the process (bytes); undefined where the system does not tell. */
  readMemory(): number | undefined;
  stop(): Promise<void>;
}

/** Starts the api as a process of its own, as in production: keys are asked for, nothing inside may be called. */
export async function startFuzzedApi(databaseUrl: string): Promise<FuzzedApi> {
  const folder = mkdtempSync(join(tmpdir(), 'punctual-fuzz-'));
  const logFile = join(folder, 'api.log');
  const operatorKey = `fuzz-${randomBytes(24).toString('hex')}`;
  try {
    const service = await startService({
      name: 'api',
      entry: ENTRY,
      env: {
        ...listNodeEnvironment(),
        HOST: '127.0.0.1',
        DATABASE_URL: databaseUrl,
        AUTH: 'on',
        BOOTSTRAP_API_KEY: operatorKey,
        ENCRYPTION_KEYS: TEST_KEYS,
        LOG_LEVEL: 'warn',
        // Smaller than by default, so that bodies which are too large are quickly sent.
        API_BODY_BYTES_MAX: '131072',
        API_BATCH_BODY_BYTES_MAX: '262144',
      },
      logFile,
      log: (line) => process.stderr.write(`${line}\n`),
    });
    return {
      service,
      operatorKey,
      listDefects: () => readLines(logFile).filter((line) => /"log\.level":"(?:error|fatal)"/.test(line)),
      readMemory: () => readResidentBytes(service.pid),
      async stop() {
        await service.stop();
        rmSync(folder, { recursive: true, force: true });
      },
    };
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

function readLines(path: string): string[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '');
}

function readResidentBytes(pid: number): number | undefined {
  try {
    const [, kilobytes] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
  } catch {
    return undefined;
  }
}
