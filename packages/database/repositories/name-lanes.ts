import { type Concurrency, checkRenderedKey, ExpressionError, parsePath, renderFirstKey } from '@punctual/domain';
import type { Transaction } from '../connect.ts';
import { readRunInputs } from '../queries/task-outputs.ts';
import { type MappedRun, readFacts } from './run-trees.repository.ts';

/**
 * The key and rule of a task's timer (JSON text) for a run that begins with `input` (JSON text). A key that can not be told by then
 * stands as it is written: such timers share one lane.
 */
export function nameLane(concurrency: string, input: string | null): string {
  return nameLaneBy(concurrency, (key) => renderFirstKey(key, parseInput(input)));
}

const parseInput = (input: string | null): unknown => (input === null ? null : JSON.parse(input));

function nameLaneBy(concurrency: string, render: (key: string) => string | undefined): string {
  const rule = JSON.parse(concurrency) as Concurrency;
  try {
    return JSON.stringify({ ...rule, key: render(rule.key) ?? rule.key });
  } catch (error) {
    if (error instanceof ExpressionError) return concurrency;
    throw error;
  }
}

/** What a timer says of its lane, and which task's instance it is for. */
interface Laned {
  runId: string | null;
  taskKey?: string | null;
  path?: string | null;
  concurrency?: string | null;
}

/**
 * Renders the keys of timers that are about to be stored for tasks of runs. `mapped`: their runs, as far as they know elements and
 * outputs. The elements of a mapped task are thousands, and their run's input may have a megabyte: it is parsed once, and a key of a
 * run that reads nothing else is rendered once.
 */
export async function nameLanes(
  client: Transaction,
  timers: readonly Laned[],
  mapped: readonly MappedRun[] = [],
): Promise<void> {
  const laned = timers.filter(({ concurrency }) => concurrency?.includes('{{'));
  if (laned.length === 0) return;
  const byOutputs: Laned[] = [];
  const byRun = Map.groupBy(laned, ({ runId }) => runId!);
  const inputs = await readRunInputs(client, [...byRun.keys()]);
  for (const [runId, ofRun] of byRun) {
    const input = parseInput(inputs.get(runId) ?? null);
    for (const [concurrency, alike] of Map.groupBy(ofRun, (timer) => timer.concurrency!)) {
      const named = nameLaneBy(concurrency, (key) => {
        const rendered = renderFirstKey(key, input);
        if (rendered === undefined) byOutputs.push(...alike);
        return rendered;
      });
      for (const timer of alike) timer.concurrency = named;
    }
  }
  await nameByOutputs(client, byOutputs, mapped);
}

// What keys need of elements and outputs is read for all of them together, as often as one thing leads to the next.
async function nameByOutputs(client: Transaction, timers: readonly Laned[], mapped: readonly MappedRun[]) {
  const runs = new Map(mapped.map((run) => [run.run.id, run]));
  let left = timers.filter(({ runId }) => runs.has(runId!));
  while (left.length > 0) {
    left = left.filter((timer) => {
      const { facts, tree } = runs.get(timer.runId!)!;
      const task = tree.plan.indexByKey.get(timer.taskKey!)!;
      let isKnown = true;
      timer.concurrency = nameLaneBy(timer.concurrency!, (key) => {
        const rendered = facts.renderText(task, parsePath(timer.path ?? null), key);
        isKnown = rendered !== undefined;
        return typeof rendered === 'string' ? checkRenderedKey(rendered) : undefined;
      });
      return !isKnown;
    });
    if (left.length > 0) await readFacts(client, [...new Set(left.map(({ runId }) => runs.get(runId!)!))]);
  }
}
