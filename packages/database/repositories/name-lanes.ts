import { type Concurrency, ExpressionError, renderKey } from '@punctual/domain';
import type { Queryable } from '../connect.ts';
import { readRunInputs } from '../queries/task-outputs.ts';

/**
 * The key and rule of a task's timer (JSON text) for a run that was begun with `input` (JSON text). A key that can not be told for
 * it, which only a version can bring that the run was moved to, stands as it is written: those timers share one lane.
 */
export function nameLane(concurrency: string, input: string | null): string {
  return nameLaneBy(concurrency, parseInput(input));
}

const parseInput = (input: string | null): unknown => (input === null ? null : JSON.parse(input));

function nameLaneBy(concurrency: string, input: unknown): string {
  const rule = JSON.parse(concurrency) as Concurrency;
  try {
    return JSON.stringify({ ...rule, key: renderKey(rule.key, input) });
  } catch (error) {
    if (error instanceof ExpressionError) return concurrency;
    throw error;
  }
}

/** What a timer says of its lane. */
interface Laned {
  runId: string | null;
  concurrency?: string | null;
}

/**
 * Renders the keys of timers that are about to be stored for tasks of runs. The elements of a mapped task are thousands, and their
 * run's input may have a megabyte: it is parsed once, and each key of a run is rendered once.
 */
export async function nameLanes(client: Queryable, timers: readonly Laned[]): Promise<void> {
  const laned = timers.filter(({ concurrency }) => concurrency?.includes('{{'));
  if (laned.length === 0) return;
  const byRun = Map.groupBy(laned, ({ runId }) => runId!);
  const inputs = await readRunInputs(client, [...byRun.keys()]);
  for (const [runId, ofRun] of byRun) {
    const input = parseInput(inputs.get(runId) ?? null);
    for (const [concurrency, alike] of Map.groupBy(ofRun, (timer) => timer.concurrency!)) {
      const named = nameLaneBy(concurrency, input);
      for (const timer of alike) timer.concurrency = named;
    }
  }
}
