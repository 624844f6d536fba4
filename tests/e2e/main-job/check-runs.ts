import { groupByTimer } from './check-timers.ts';
import { type Delivery, FLAKY_FAILURES } from './delivery.ts';
import type { JobRecord, Ledger } from './job.ts';
import { type BookedRun, TASK_PARENTS } from './runs.ts';

/** Every run ended as it should, and its tasks too. */
export function findWrongRuns({ runs }: JobRecord): string[] {
  return runs.flatMap(({ id, kind, cancelled, ended }) => {
    const { status, tasks } = ended!;
    const wanted = cancelled ? 'cancelled' : kind === 'broken' ? 'failed' : 'succeeded';
    const offences = status === wanted ? [] : [`run ${id} (${kind}) is ${status}, not ${wanted}`];
    if (cancelled) return offences;
    // What can not begin any more is shown as cancelled.
    const statuses: Record<string, string> = kind === 'broken' ? { b: 'dead', d: 'cancelled', e: 'cancelled' } : {};
    for (const key of Object.keys(TASK_PARENTS)) {
      const expected = statuses[key] ?? 'succeeded';
      const found = tasks.find((task) => task.key === key)?.status;
      if (found !== expected) offences.push(`task ${key} of run ${id} (${kind}) is ${found}, not ${expected}`);
    }
    return offences;
  });
}

/** No task was sent before each of its parents had succeeded, and each task of a whole run was sent. */
export function findHastyTasks({ runs, receivers }: JobRecord): string[] {
  const byRun = Map.groupBy(receivers.deliveries, ({ body }) => body.runId);
  const offences: string[] = [];
  for (const run of runs) {
    const inRun = byRun.get(run.id) ?? [];
    const deliveries = Map.groupBy(inRun, ({ body }) => body.taskKey!);
    for (const [key, parents] of Object.entries(TASK_PARENTS)) {
      const first = deliveries.get(key)?.[0];
      if (!first) {
        if (run.kind === 'whole' && !run.cancelled) offences.push(`task ${key} of run ${run.id} was never sent`);
        continue;
      }
      for (const parent of parents) {
        const succeeded = deliveries.get(parent)?.find(isSuccess);
        const isInOrder = succeeded && inRun.indexOf(succeeded) < inRun.indexOf(first);
        if (!isInOrder) offences.push(`task ${key} of run ${run.id} was sent before ${parent} had succeeded`);
      }
    }
  }
  return offences;
}

function isSuccess({ target, attempt }: Delivery): boolean {
  return target === 'good' || (target === 'flaky' && attempt > FLAKY_FAILURES);
}

/** After an acknowledged cancel of a run nothing more of it began. */
export function findOvertakenRuns({ runs, receivers }: JobRecord): string[] {
  const received = groupByTimer(receivers.deliveries);
  const byRun = Map.groupBy(receivers.deliveries, ({ body }) => body.runId);
  return runs.flatMap(({ id, cancelled }) => {
    if (!cancelled) return [];
    const offences: string[] = [];
    const begun = new Set<string>();
    for (const { key, timerId, attempts } of cancelled.tasks) {
      if (attempts > 0) begun.add(key);
      const later = (timerId ? received.get(timerId) : undefined)?.find(({ attempt }) => attempt > attempts);
      if (later)
        offences.push(
          `attempt ${later.attempt} of task ${key} of run ${id} came although the run was cancelled after ${attempts}`,
        );
    }
    for (const { body } of byRun.get(id) ?? []) {
      if (!begun.has(body.taskKey!))
        offences.push(`task ${body.taskKey} of run ${id} came although the run was cancelled before it`);
    }
    return offences;
  });
}

/** The books agree at every moment, and at the end with what was acknowledged and listed. */
export function findLedgerFaults({ ledgers, listed, timers, runs }: JobRecord): string[] {
  const offences = ledgers
    .filter(({ isBalanced }) => !isBalanced)
    .map(({ total }) => `not balanced: ${JSON.stringify(total)}`);
  const { total, overdueCount, stuckRunCount } = ledgers.at(-1)!;
  const expected: Ledger['total'] = {
    created: 0,
    scheduled: 0,
    running: 0,
    paused: 0,
    succeeded: 0,
    dead: 0,
    cancelled: 0,
    skipped: 0,
  };
  for (const { status } of listed) expected[status] += 1;
  expected.created = timers.length + runs.reduce((sum, run) => sum + countTimers(run), 0);
  for (const [figure, wanted] of Object.entries(expected)) {
    const found = total[figure as keyof Ledger['total']];
    if (found !== wanted) offences.push(`the ledger tells of ${found} ${figure}, not ${wanted}`);
  }
  if (total.scheduled + total.running + total.paused > 0)
    offences.push(`there are live timers: ${JSON.stringify(total)}`);
  if (overdueCount + stuckRunCount > 0)
    offences.push(`${overdueCount} timers are overdue and ${stuckRunCount} runs stuck`);
  return offences;
}

function countTimers({ ended }: BookedRun): number {
  return ended!.tasks.filter(({ timerId }) => timerId !== undefined).length;
}
