import { readdirSync, readFileSync } from 'node:fs';

/** Clock ticks in a second: 100 on every Linux that Node runs on (`getconf CLK_TCK`). */
const TICKS_PER_SECOND = 100;

interface Usage {
  parent: number;
  seconds: number;
}

/** CPU seconds of each process, its ended and awaited children included, by pid. Linux only. */
function readAll(): Map<number, Usage> {
  const all = new Map<number, Usage>();
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
      // Fields after the name, which stands in parentheses and may hold anything: state, ppid, …
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      const ticks = Number(fields[11]) + Number(fields[12]) + Number(fields[13]) + Number(fields[14]);
      all.set(Number(entry), { parent: Number(fields[1]), seconds: ticks / TICKS_PER_SECOND });
    } catch {
      // It ended between the listing and the reading.
    }
  }
  return all;
}

/** CPU seconds so far of each named process and all its descendants. */
export function readCpuSeconds(pids: Readonly<Record<string, number>>): Record<string, number> {
  const all = readAll();
  const sum = (pid: number): number => {
    let total = all.get(pid)?.seconds ?? 0;
    for (const [child, usage] of all) if (usage.parent === pid) total += sum(child);
    return total;
  };
  return Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, sum(pid)]));
}

/** Resident memory of a process (bytes); 0 when it has ended. */
export function readMemoryBytes(pid: number): number {
  try {
    return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/** Clock ticks of all processors so far: in all, and those that the host of a virtual machine kept for others. */
function readTicks(): { all: number; stolen: number } {
  const [line = ''] = readFileSync('/proc/stat', 'utf8').split('\n');
  const ticks = line.split(/ +/).slice(1, 9).map(Number);
  return { all: ticks.reduce((sum, value) => sum + value, 0), stolen: ticks[7] ?? 0 };
}

/** Begins to count; the function that it returns says which share of processor time (0 to 1) the host took since. */
export function startStealClock(): () => number {
  const before = readTicks();
  return () => {
    const after = readTicks();
    return (after.stolen - before.stolen) / Math.max(1, after.all - before.all);
  };
}
