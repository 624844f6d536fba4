import type { OwnResult } from './own-scenario.ts';
import type { SteadyResult } from './steady.ts';

/** A run at the steady rate, and what was special about it. */
export interface Stage {
  name: string;
  result: SteadyResult;
}

/** Runs at the steady rate beside each other, and the later ones in proportion to the first. */
export function compareStages(stages: readonly [Stage, ...Stage[]]): OwnResult {
  const first = stages[0].result;
  const figures = stages.flatMap(({ name, result }, index) => {
    const { latenessMs, cpuMicrosecondsPerTimer, deliveredPerSecond, stolenShare } = result;
    const own: [string, number][] = [
      [`${name}: timers/s`, deliveredPerSecond],
      [`${name}: late p50 ms`, latenessMs.p50],
      [`${name}: p95 ms`, latenessMs.p95],
      [`${name}: p99 ms`, latenessMs.p99],
      [`${name}: max ms`, latenessMs.max],
      [`${name}: CPU µs/timer`, cpuMicrosecondsPerTimer.total],
      [`${name}: stolen %`, Math.round(stolenShare * 100)],
    ];
    if (index === 0) return own;
    return [
      ...own,
      [`${name} to ${stages[0].name}: p95, ratio`, latenessMs.p95 / first.latenessMs.p95],
      [`${name} to ${stages[0].name}: CPU, ratio`, cpuMicrosecondsPerTimer.total / first.cpuMicrosecondsPerTimer.total],
    ] as [string, number][];
  });
  return {
    figures: Object.fromEntries(figures),
    faults: stages.flatMap(({ name, result }) => result.faults.map((fault) => `${name}: ${fault}`)),
  };
}
