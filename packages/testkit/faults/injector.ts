import { hash } from 'node:crypto';
import { type Called, type FaultKind, FaultPlan } from './fault-plan.ts';
import { FaultRecord } from './fault-record.ts';
import { areFaultsInjected, type FaultSettings } from './settings.ts';

/** What decides for both clients of a process, and counts. */
export interface Injector {
  readonly plan: FaultPlan;
  /** The fault of a call that is about to be made; undefined while nothing is to fail. */
  choose(called: Called): FaultKind | undefined;
  /** Writes down a fault that is about to happen. */
  note(called: Called, kind: FaultKind, what: string): void;
}

// One for each process: the clients are patched where all modules see them, also when tests load this one twice.
const KEY = Symbol.for('punctual.faults');
const shared = globalThis as typeof globalThis & { [KEY]?: { pauses: number } };

function readState(): { pauses: number } {
  shared[KEY] ??= { pauses: 0 };
  return shared[KEY];
}

/**
 * Opens the injector of this process. `name` says which process of the run it is: it decides which calls fail, together
 * with the seed.
 */
export function openInjector(settings: FaultSettings, name: string): Injector {
  const record = new FaultRecord(settings.folder, name);
  const plan = new FaultPlan(settings.rate, hash('sha256', `${settings.seed} ${record.name}`, 'buffer').readUInt32LE());
  const state = readState();
  return {
    plan,
    choose(called) {
      if (state.pauses > 0) return undefined;
      record.countCall(called);
      return plan.choose();
    },
    note: (called, kind, what) => record.noteFault(called, kind, what),
  };
}

/** From now on nothing fails, until `resumeFaults` was called as often. */
export function pauseFaults(): void {
  readState().pauses += 1;
}

export function resumeFaults(): void {
  readState().pauses -= 1;
}

/** Whether calls may fail at this moment. */
export function areFaultsOn(): boolean {
  return areFaultsInjected && readState().pauses === 0;
}

/**
 * Lets nothing fail while `work` is under way: for the start of a service, which refuses to start when its database is
 * away, as whoever operates it is told; and for what is promised of quiet times only.
 */
export async function withoutFaults<T>(work: () => Promise<T>): Promise<T> {
  pauseFaults();
  try {
    return await work();
  } finally {
    resumeFaults();
  }
}
