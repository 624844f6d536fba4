import { join } from 'node:path';
import { type Program, startProgram } from '../processes.ts';

const ENTRY = join(import.meta.dirname, 'worker-process.ts');

/** What a pull worker of the tests says. */
export interface PullEvent {
  event: 'ready' | 'began' | 'ended' | 'error';
  /** Epoch ms by this host's clock. */
  at: number;
  /** Of the task. */
  id?: string;
  attempt?: number;
  text?: string;
}

/** Starts a pull worker as a process of its own. */
export function startPullProgram(options: {
  url: string;
  workerId: string;
  queue: string;
  leaseSeconds: number;
}): Program {
  return startProgram(ENTRY, [], {
    PUNCTUAL_URL: options.url,
    WORKER_ID: options.workerId,
    QUEUES: options.queue,
    LEASE_SECONDS: String(options.leaseSeconds),
  });
}

/** What it said so far; of one that was killed, without a line that it did not end. */
export function readPullEvents(program: Program): PullEvent[] {
  return program.stdout
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line) as PullEvent);
}
