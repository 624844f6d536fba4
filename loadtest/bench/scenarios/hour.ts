import type { OwnScenario } from './own-scenario.ts';
import { type SteadyResult, steady } from './steady.ts';
import { compareStages } from './steady-stages.ts';

/** The steady rate for an hour: whether the cost grows with the history. Each part is judged by itself. */
export const hour: OwnScenario = {
  summary: 'the steady rate for --count times --seconds: the first part beside the last',
  countDefault: 12,
  secondsDefault: 300,
  async run(engine, sink, { count, rate, seconds, log }) {
    const parts: SteadyResult[] = [];
    while (parts.length < count) {
      const part = await steady(engine, sink, rate, seconds);
      parts.push(part);
      const { latenessMs, cpuMicrosecondsPerTimer, stolenShare } = part;
      log(
        `  part ${parts.length} of ${count}: p95 ${latenessMs.p95.toFixed(1)} ms, ${cpuMicrosecondsPerTimer.total} µs a timer, ${Math.round(stolenShare * 100)}% stolen`,
      );
    }
    const result = compareStages([
      { name: 'first', result: parts[0]! },
      { name: 'last', result: parts.at(-1)! },
    ]);
    const cpu = parts.map((part) => part.cpuMicrosecondsPerTimer.total);
    const half = Math.ceil(parts.length / 2);
    return {
      figures: {
        ...result.figures,
        // One part differs from the next by more than an hour adds.
        'second half to first: CPU, ratio': mean(cpu.slice(-half)) / mean(cpu.slice(0, half)),
        'CPU µs/timer of a part, least': Math.min(...cpu),
        'CPU µs/timer of a part, most': Math.max(...cpu),
        'timers delivered': parts.reduce((sum, part) => sum + part.creates.created, 0),
        'disk bytes/timer': mean(parts.map((part) => part.diskBytesPerTimer)),
        'worst p95 of a part, ms': Math.max(...parts.map((part) => part.latenessMs.p95)),
        'largest process, first part, MB': Math.max(...Object.values(parts[0]!.memoryMegabytes)),
        'largest process, last part, MB': Math.max(...Object.values(parts.at(-1)!.memoryMegabytes)),
      },
      faults: parts.flatMap((part, index) => part.faults.map((fault) => `part ${index + 1}: ${fault}`)),
    };
  },
};

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
