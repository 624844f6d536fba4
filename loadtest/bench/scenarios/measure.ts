import type { Child } from '../child.ts';
import { readCpuSeconds, readMemoryBytes, startStealClock } from '../cpu.ts';
import type { Engine } from '../engines/engine.ts';
import type { SinkStats } from '../sink.ts';

/** A run that delivers nothing for so long is over (ms); what has not arrived by then counts as lost. */
const STALL_LIMIT_MS = 30_000;
const POLL_MS = 200;

/** Microseconds of processor time a timer, of all parts together and of each. */
export type CpuPerTimer = { total: number } & Record<string, number>;

/** What the measured part of a run cost. */
export interface Cost {
  cpuMicrosecondsPerTimer: CpuPerTimer;
  /** Share of the machine's processor time that its host kept for others meanwhile (0 to 1). Much makes all figures worse. */
  stolenShare: number;
}

/** Notes what each process has used so far; the function that it returns says what they used since, per timer. */
export function startCostClock(engine: Engine): (timers: number) => Cost {
  const readStolenShare = startStealClock();
  const before = readCpuSeconds(engine.listPids());
  return (timers) => {
    const after = readCpuSeconds(engine.listPids());
    const perTimer = (seconds: number) => Math.round((seconds / timers) * 1e7) / 10;
    const parts = Object.entries(after).map(([name, seconds]) => [name, seconds - (before[name] ?? 0)] as const);
    return {
      cpuMicrosecondsPerTimer: {
        total: perTimer(parts.reduce((sum, [, seconds]) => sum + seconds, 0)),
        ...Object.fromEntries(parts.map(([name, seconds]) => [name, perTimer(seconds)])),
      },
      stolenShare: readStolenShare(),
    };
  };
}

/** Resident memory of each process (MB). */
export function readMemory(engine: Engine): Record<string, number> {
  const pids = Object.entries(engine.listPids());
  return Object.fromEntries(pids.map(([name, pid]) => [name, Math.round(readMemoryBytes(pid) / 1e6)]));
}

/** Waits until the sink has seen so many timers, or until nothing has come for a while. */
export async function waitForDeliveries(sink: Child, expected: number): Promise<void> {
  let seen = -1;
  let changedAt = performance.now();
  for (;;) {
    const { timers } = await sink.ask<{ timers: number }>('count');
    if (timers >= expected) return;
    if (timers !== seen) {
      seen = timers;
      changedAt = performance.now();
    } else if (performance.now() - changedAt > STALL_LIMIT_MS) {
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** What was wrong with a run by the sink's log and the engine's own books; a run with any fault does not count. */
export async function findFaults(engine: Engine, stats: SinkStats, expected: number): Promise<string[]> {
  const faults: string[] = [];
  if (stats.timers !== expected) faults.push(`${expected - stats.timers} of ${expected} timers were not delivered`);
  if (stats.duplicates > 0) faults.push(`${stats.duplicates} requests were repeated`);
  if (stats.early > 0) faults.push(`${stats.early} requests came early`);
  return [...faults, ...(await engine.check())];
}
