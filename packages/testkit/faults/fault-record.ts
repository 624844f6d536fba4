import { appendFileSync, closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Called, FaultKind } from './fault-plan.ts';

/** Processes of one kind that one test file starts. */
const PROCESSES_MAX = 1_000;
/** Calls are counted in portions, so that little is missing of a process that is killed. */
const CALLS_PER_LINE = 100;

/** What one process did, line by line in a file of its own: also one that is killed has said it. */
export class FaultRecord {
  /** The name with a number, when several processes of a run have the same. */
  readonly name: string;
  readonly #path: string;
  readonly #calls = { database: 0, redis: 0 };

  constructor(folder: string, name: string) {
    const claimed = claimFile(folder, name.replaceAll(/[^a-zA-Z0-9.-]+/g, '_'));
    this.name = claimed.name;
    this.#path = claimed.path;
    process.on('exit', () => {
      for (const called of ['database', 'redis'] as const) this.#writeCalls(called);
    });
  }

  countCall(called: Called): void {
    this.#calls[called] += 1;
    if (this.#calls[called] >= CALLS_PER_LINE) this.#writeCalls(called);
  }

  noteFault(called: Called, kind: FaultKind, what: string): void {
    appendFileSync(this.#path, `${JSON.stringify({ called, kind, what })}\n`);
  }

  #writeCalls(called: Called): void {
    const calls = this.#calls[called];
    this.#calls[called] = 0;
    // The folder may be gone before a process that was left behind.
    if (calls > 0) {
      try {
        appendFileSync(this.#path, `${JSON.stringify({ called, calls })}\n`);
      } catch {}
    }
  }
}

function claimFile(folder: string, name: string): { name: string; path: string } {
  for (let number = 1; number <= PROCESSES_MAX; number += 1) {
    const path = join(folder, `${name}-${number}.jsonl`);
    try {
      closeSync(openSync(path, 'wx'));
      return { name: `${name}-${number}`, path };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
  throw new Error(`more than ${PROCESSES_MAX} processes are called ${name}`);
}

/** What all processes of a run did together. */
export interface FaultCounts {
  calls: Record<Called, number>;
  /** Faults, as `redis late` and the like. */
  faults: Map<string, number>;
  processes: number;
}

export function readFaultCounts(folder: string): FaultCounts {
  const counts: FaultCounts = { calls: { database: 0, redis: 0 }, faults: new Map(), processes: 0 };
  for (const file of readdirSync(folder)) {
    let didAnything = false;
    for (const line of readFileSync(join(folder, file), 'utf8').split('\n')) {
      if (line === '') continue;
      const entry = JSON.parse(line) as { called: Called; calls?: number; kind?: FaultKind };
      if (entry.calls !== undefined) counts.calls[entry.called] += entry.calls;
      if (entry.kind !== undefined) {
        const name = `${entry.called} ${entry.kind}`;
        counts.faults.set(name, (counts.faults.get(name) ?? 0) + 1);
      }
      didAnything = true;
    }
    if (didAnything) counts.processes += 1;
  }
  return counts;
}
