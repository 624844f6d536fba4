import { join } from 'node:path';
import { startStack } from '@punctual/local-servers';
import { request } from 'undici';
import { Child } from '../child.ts';
import type { CreatorResult } from '../open-loop.ts';
import { BATCH_TIMERS, BATCHES_AT_ONCE, DELAY_MS, type Engine, PAYLOAD } from './engine.ts';
import { readSizes } from './sizes.ts';

export interface PunctualOptions {
  schedulers: number;
  workers: number;
  queue: 'redis' | 'postgres';
  log: (line: string) => void;
}

const CREATOR = join(import.meta.dirname, '../creator.ts');
/** After the last request, for the last answer (ms). */
const ANSWERS_TIMEOUT_MS = 60_000;

/** Api, schedulers and workers as processes of their own; timers come in over HTTP. */
export async function startPunctual(sinkUrl: string, options: PunctualOptions): Promise<Engine> {
  const stack = await startStack({
    api: 1,
    scheduler: options.schedulers,
    worker: options.workers,
    ephemeral: true,
    ...(options.queue === 'postgres' ? { redisUrl: null } : {}),
    env: { LOG_LEVEL: 'warn' },
    log: options.log,
  });
  const apiUrl = stack.apiUrls[0]!;
  const signalSchedulers = (signal: NodeJS.Signals) => {
    for (const service of stack.processes) if (service.name.startsWith('scheduler')) service.kill(signal);
  };
  return {
    name: 'punctual',
    listPids: () => Object.fromEntries([...stack.processes, ...stack.servers].map(({ name, pid }) => [name, pid])),
    putDue: (count) => putDue(apiUrl, sinkUrl, count),
    pause: () => signalSchedulers('SIGSTOP'),
    resume: () => signalSchedulers('SIGCONT'),
    create: (rate, seconds) => {
      const args = [apiUrl, sinkUrl, rate, seconds, DELAY_MS.min, DELAY_MS.max].map(String);
      return new Child(CREATOR, args).read<CreatorResult>(seconds * 1000 + ANSWERS_TIMEOUT_MS);
    },
    readSizes: () => readSizes(stack.databaseUrl, stack.redisUrl),
    check: () => checkLedger(apiUrl),
    async stop() {
      signalSchedulers('SIGCONT');
      await stack.stop();
    },
  };
}

async function putDue(apiUrl: string, sinkUrl: string, count: number): Promise<void> {
  const timer = { action: { type: 'http', url: sinkUrl }, payload: PAYLOAD };
  let left = count;
  const putBatches = async () => {
    while (left > 0) {
      const size = Math.min(left, BATCH_TIMERS);
      left -= size;
      const { statusCode, body } = await request(`${apiUrl}/v1/timers/batch`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ timers: Array.from({ length: size }, () => timer) }),
      });
      const text = await body.text();
      if (statusCode !== 207) throw new Error(`a batch was answered ${statusCode}: ${text.slice(0, 500)}`);
    }
  };
  await Promise.all(Array.from({ length: BATCHES_AT_ONCE }, putBatches));
}

async function checkLedger(apiUrl: string): Promise<string[]> {
  const { statusCode, body } = await request(`${apiUrl}/v1/ledger`);
  const ledger = (await body.json()) as { isBalanced?: boolean };
  if (statusCode === 200 && ledger.isBalanced) return [];
  return [`the ledger does not balance: ${JSON.stringify(ledger).slice(0, 500)}`];
}
