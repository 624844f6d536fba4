import { join } from 'node:path';
import { startStack } from '@punctual/local-servers';
import { Child } from '../child.ts';
import type { CreatorResult } from '../open-loop.ts';
import type { Engine, EngineName } from './engine.ts';
import { readSizes } from './sizes.ts';

export interface PeerOptions {
  workers: number;
  log: (line: string) => void;
}

const PROGRAM = join(import.meta.dirname, '../peers/peer-process.ts');
const PUT_TIMEOUT_MS = 600_000;
/** After the last create, for the last answer (ms). */
const ANSWERS_TIMEOUT_MS = 300_000;

/**
 * A peer: one producer, which uses the library directly, and worker processes. Its creates cost no HTTP request, as
 * Punctual's do; the producer's CPU time counts, as that of Punctual's api does.
 */
export async function startPeer(
  name: Exclude<EngineName, 'punctual'>,
  sinkUrl: string,
  options: PeerOptions,
): Promise<Engine> {
  const stack = await startStack({ api: 0, scheduler: 0, worker: 0, ephemeral: true, log: options.log });
  const env = { DATABASE_URL: stack.databaseUrl, REDIS_URL: stack.redisUrl! };
  const children = new Map<string, Child>();
  const open = async (role: string, as: string) => {
    const child = new Child(PROGRAM, [name, role, sinkUrl], env);
    children.set(as, child);
    await child.read();
    return child;
  };
  const workers: Child[] = [];
  try {
    (await open('set-up', 'set-up')).stop();
    children.delete('set-up');
    await open('producer', 'producer');
    for (let number = 1; number <= options.workers; number += 1) workers.push(await open('worker', `worker-${number}`));
  } catch (error) {
    for (const child of children.values()) child.stop();
    await stack.stop();
    throw error;
  }
  const producer = children.get('producer')!;
  const signalWorkers = (signal: NodeJS.Signals) => {
    for (const worker of workers) worker.process.kill(signal);
  };
  return {
    name,
    listPids: () =>
      Object.fromEntries([
        ...Array.from(children, ([as, child]) => [as, child.pid] as const),
        ...stack.servers.map((server) => [server.name, server.pid] as const),
      ]),
    async putDue(count) {
      await producer.ask(`put ${count}`, PUT_TIMEOUT_MS);
    },
    pause: () => signalWorkers('SIGSTOP'),
    resume: () => signalWorkers('SIGCONT'),
    create: (rate, seconds) =>
      producer.ask<CreatorResult>(`create ${rate} ${seconds}`, seconds * 1000 + ANSWERS_TIMEOUT_MS),
    readSizes: () => readSizes(stack.databaseUrl, stack.redisUrl),
    check: async () => [],
    async stop() {
      signalWorkers('SIGCONT');
      for (const child of children.values()) child.stop();
      await Promise.all([...children.values()].map((child) => child.ended));
      await stack.stop();
    },
  };
}
