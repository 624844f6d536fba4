import { join } from 'node:path';
import { type ServiceKind, type StackOptions, startStack } from '@punctual/local-servers';
import { request } from 'undici';
import { Child } from '../child.ts';
import { Client, runClosedLoop } from '../client.ts';
import type { CreatorResult } from '../open-loop.ts';
import { withProgress } from '../progress.ts';
import { BATCH_TIMERS, BATCHES_AT_ONCE, DELAY_MS, type Engine, PAYLOAD } from './engine.ts';
import { readSizes } from './sizes.ts';

export interface PunctualOptions {
  schedulers: number;
  workers: number;
  queue: 'redis' | 'postgres';
  /** Settings of all services. */
  env?: Record<string, string>;
  /** The programs of another checkout, in place of this one's. */
  entries?: StackOptions['entries'];
  log: (line: string) => void;
}

/** Punctual as an engine, and what only it has. */
export interface PunctualEngine extends Engine {
  readonly apiUrl: string;
  /** That of `client`. */
  readonly apiKey: string;
  readonly databaseUrl: string;
  /** With a key that may do everything. */
  readonly client: Client;
  /** Timers that succeeded, by the workers' own counters. */
  countEnded(): Promise<number>;
  /** Stores `count` timers in batches, due at `dueAt` (epoch ms); for other endpoints in turn, if told. */
  putAt(count: number, dueAt: number, urls?: readonly string[]): Promise<void>;
  /** Starts one more process of a kind. */
  add(kind: ServiceKind): Promise<void>;
  /** As `create`; the timers belong to the tenants of these keys in turn, and go to another sink. */
  createFor(apiKeys: readonly string[], sinkUrl: string, rate: number, seconds: number): Promise<CreatorResult>;
}

const CREATOR = join(import.meta.dirname, '../creator.ts');
/** After the last request, for the last answer (ms): so long that an engine that fell behind is measured, not given up. */
const ANSWERS_TIMEOUT_MS = 300_000;
const SUCCEEDED = /^worker_timers_ended_total\{[^}]*status="succeeded"[^}]*\} (\S+)$/gm;
/** Of the default tenant, in a database that is gone after the run. */
const API_KEY = 'a-key-of-a-benchmark-that-nobody-else-can-reach';

/** Api, schedulers and workers as processes of their own; timers come in over HTTP, with a key. */
export async function startPunctual(sinkUrl: string, options: PunctualOptions): Promise<PunctualEngine> {
  const stack = await startStack({
    api: 1,
    scheduler: options.schedulers,
    worker: options.workers,
    ephemeral: true,
    ...(options.queue === 'postgres' ? { redisUrl: null } : {}),
    env: { LOG_LEVEL: 'warn', AUTH: 'on', BOOTSTRAP_API_KEY: API_KEY, ...options.env },
    ...(options.entries && { entries: options.entries }),
    log: options.log,
  });
  const apiUrl = stack.apiUrls[0]!;
  const client = new Client(apiUrl, API_KEY);
  const signalSchedulers = (signal: NodeJS.Signals) => {
    for (const service of stack.processes) if (service.name.startsWith('scheduler')) service.kill(signal);
  };
  const putAt = async (count: number, dueAt: number, urls: readonly string[] = [sinkUrl]) => {
    const timers = urls.map((url) => ({
      dueAt: new Date(dueAt).toISOString(),
      action: { type: 'http', url },
      payload: PAYLOAD,
    }));
    const writeBatch = (size: number) =>
      JSON.stringify({ timers: Array.from({ length: size }, (_, index) => timers[index % timers.length]) });
    const full = writeBatch(BATCH_TIMERS);
    let stored = 0;
    const describe = () => `${stored.toLocaleString('en')} of ${count.toLocaleString('en')} timers are stored`;
    const putAll = () =>
      runClosedLoop(Math.ceil(count / BATCH_TIMERS), BATCHES_AT_ONCE, async (index) => {
        const size = Math.min(BATCH_TIMERS, count - index * BATCH_TIMERS);
        await client.sendText('POST', '/v1/timers/batch', size === BATCH_TIMERS ? full : writeBatch(size));
        stored += size;
      });
    await withProgress(options.log, describe, putAll);
  };
  const createFor = (apiKeys: readonly string[], url: string, rate: number, seconds: number) => {
    const args = [apiUrl, url, rate, seconds, DELAY_MS.min, DELAY_MS.max, apiKeys.join(',')].map(String);
    const creator = new Child(CREATOR, args);
    return creator.read<CreatorResult>(seconds * 1000 + ANSWERS_TIMEOUT_MS);
  };
  return {
    name: 'punctual',
    apiUrl,
    apiKey: API_KEY,
    databaseUrl: stack.databaseUrl,
    client,
    listPids: () => Object.fromEntries([...stack.processes, ...stack.servers].map(({ name, pid }) => [name, pid])),
    putDue: (count) => putAt(count, Date.now()),
    putAt,
    async add(kind) {
      await stack.add(kind);
    },
    pause: () => signalSchedulers('SIGSTOP'),
    resume: () => signalSchedulers('SIGCONT'),
    create: (rate, seconds) => createFor([API_KEY], sinkUrl, rate, seconds),
    createFor,
    async countEnded() {
      const workers = stack.processes.filter((service) => service.name.startsWith('worker'));
      const texts = await Promise.all(workers.map(async ({ url }) => (await request(`${url}/metrics`)).body.text()));
      return texts.flatMap((text) => [...text.matchAll(SUCCEEDED)]).reduce((sum, [, value]) => sum + Number(value), 0);
    },
    readSizes: () => readSizes(stack.databaseUrl, stack.redisUrl),
    async check() {
      const ledger = await client.send<{ isBalanced?: boolean }>('GET', '/v1/ledger');
      return ledger.isBalanced ? [] : [`the ledger does not balance: ${JSON.stringify(ledger).slice(0, 500)}`];
    },
    async stop() {
      signalSchedulers('SIGCONT');
      client.close();
      await stack.stop();
    },
  };
}
