import { join } from 'node:path';
import { Child } from '../child.ts';
import type { PunctualEngine } from '../engines/punctual.ts';
import type { OwnResult, OwnScenario } from './own-scenario.ts';
import { runAll, type Task, TEN } from './runs.ts';

/** Which of the ten tasks are pulled, and from which queue: half of them, of four types. */
const QUEUE_OF_TASK: Readonly<Record<string, string>> = { b1: 'one', d1: 'one', d2: 'two', d3: 'three', d4: 'four' };
const QUEUES = [...new Set(Object.values(QUEUE_OF_TASK))];
/** Tasks that one worker has in hand at once: as many as one lease and one completion take together. */
const CONCURRENCY = 500;
const PULLER = join(import.meta.dirname, '../puller.ts');

interface Pulled {
  tasks: number;
  inHand: number;
  repeated: number;
  errors: string[];
}

const TASKS: Task[] = TEN.map((task) => {
  const queue = QUEUE_OF_TASK[task.key];
  return queue === undefined ? task : { ...task, action: { type: 'pull', queue } };
});

/** Runs of which half of the tasks are done by workers that call nobody and are called by nobody. */
export const pulled: OwnScenario = {
  summary: '--count runs of ten noop tasks with two joins, half of them done by pull workers of four types',
  countDefault: 100_000,
  async run(engine, _sink, options) {
    const pullers = QUEUES.map(
      (queue) => new Child(PULLER, [engine.apiUrl, engine.apiKey, queue, String(CONCURRENCY)]),
    );
    try {
      await Promise.all(pullers.map((puller) => puller.read()));
      const result = await runAll(withPullers(engine, pullers), TASKS, options);
      const ends = await Promise.all(pullers.map((puller) => puller.ask<Pulled>('stop')));
      return { ...result, faults: [...result.faults, ...findFaults(ends, options.count)] };
    } finally {
      for (const puller of pullers) puller.stop();
    }
  },
};

/** What pull workers do counts with what Punctual's own do: their tasks, and their processor time. */
function withPullers(engine: PunctualEngine, pullers: readonly Child[]): PunctualEngine {
  return {
    ...engine,
    listPids: () => ({
      ...engine.listPids(),
      ...Object.fromEntries(pullers.map(({ pid }, index) => [`puller-${QUEUES[index]}`, pid])),
    }),
    countEnded: async () => {
      const [called, ...ends] = await Promise.all([
        engine.countEnded(),
        ...pullers.map(async (puller) => {
          const { tasks, inHand } = await puller.ask<Pulled>('count');
          return tasks - inHand;
        }),
      ]);
      return ends.reduce((sum, tasks) => sum + tasks, called);
    },
  };
}

function findFaults(ends: readonly Pulled[], runs: number): OwnResult['faults'] {
  return ends.flatMap(({ tasks, repeated, errors }, index) => {
    const queue = QUEUES[index]!;
    const expected = runs * Object.values(QUEUE_OF_TASK).filter((name) => name === queue).length;
    return [
      ...(tasks === expected ? [] : [`${tasks} of ${expected} tasks of queue ${queue} were pulled`]),
      ...(repeated > 0 ? [`${repeated} tasks of queue ${queue} were pulled more than once`] : []),
      ...errors.map((error) => `the worker of queue ${queue} was told: ${error}`),
    ];
  });
}
