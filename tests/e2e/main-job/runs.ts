import { type ApiClient, type BatchResult, cut, forEachConcurrently, type Problem, type Run } from '../api-client.ts';
import { type TrafficTimes, waitForInstant } from './create-timers.ts';
import type { Target } from './delivery.ts';
import type { Receivers } from './receivers.ts';
import { BACKOFF_MS, TIMEOUT_MS } from './timer-book.ts';

/** What becomes of a run when nobody cancels it: `b` of a `broken` one never succeeds, so its join must not begin. */
export type RunKind = 'whole' | 'broken';

export interface BookedRun {
  kind: RunKind;
  id: string;
  /** As its cancel was answered with 200. */
  cancelled?: Run;
  /** Code of a cancel that was refused. */
  refusal?: string;
  /** As it ended. */
  ended?: Run;
}

/** Five tasks: two roots, the one with a delay, `d` joins both branches. */
export const TASK_PARENTS: Readonly<Record<string, readonly string[]>> = {
  a: [],
  b: [],
  c: ['a'],
  d: ['b', 'c'],
  e: ['d'],
};

const BATCH_RUNS = 20;
const READS_AT_ONCE = 16;

/** Creates both workflows and begins their runs, a few at a time. */
export async function beginRuns(
  api: ApiClient,
  receivers: Receivers,
  counts: Record<RunKind, number>,
  { beganAt, spreadMs }: Pick<TrafficTimes, 'beganAt' | 'spreadMs'>,
): Promise<BookedRun[]> {
  const runs: BookedRun[] = [];
  const begin = async (kind: RunKind) => {
    const { id: workflowId } = await api.expect<{ id: string }>([201], 'POST', '/v1/workflows', {
      name: kind,
      timeZone: 'Asia/Tokyo',
      tasks: listTasks(receivers.urls, kind),
    });
    const wanted = Array.from({ length: counts[kind] }, (_, index) => ({
      externalId: `${kind}-${index}`,
      input: { index },
    }));
    for (const [index, batch] of cut(wanted, BATCH_RUNS).entries()) {
      await waitForInstant(beganAt + ((index * BATCH_RUNS) / wanted.length) * spreadMs);
      const body = { workflowId, runs: batch };
      const { results } = await api.expect<{ results: BatchResult[] }>([207], 'POST', '/v1/runs/batch', body);
      for (const { run, error } of results) {
        if (!run) throw new Error(`a run was refused: ${JSON.stringify(error)}`);
        runs.push({ kind, id: run.id });
      }
    }
    const repeated = await api.send<Run>('POST', '/v1/runs', { workflowId, ...wanted[0] });
    if (repeated.status !== 200 || !runs.some(({ id }) => id === repeated.body.id)) {
      throw new Error(`a repeated external id made another run: ${repeated.status}`);
    }
  };
  await Promise.all([begin('whole'), begin('broken')]);
  return runs;
}

function listTasks(urls: Record<Target, string>, kind: RunKind): object[] {
  const targets: Record<string, Target> = { b: kind === 'broken' ? 'failing' : 'flaky' };
  const delays: Record<string, object> = {
    b: { type: 'duration', value: 1, unit: 'seconds' },
    c: { type: 'duration', value: 2, unit: 'seconds' },
    e: { type: 'until', at: '2020-02-02T02:02:02Z' },
  };
  return Object.entries(TASK_PARENTS).map(([key, after]) => ({
    key,
    after,
    ...(delays[key] && { delay: delays[key] }),
    action: { type: 'http', url: urls[targets[key] ?? 'good'] },
    retry: { backoff: { initialMs: BACKOFF_MS, factor: 2, jitter: 0 } },
    timeoutMs: TIMEOUT_MS,
  }));
}

/** Cancels runs, each after its first request, or while the first attempt of `b` is under way, which is to be retried. */
export async function cancelRuns(api: ApiClient, receivers: Receivers, runs: readonly BookedRun[]): Promise<void> {
  const names = runs.map((run, index) => ({ run, name: index % 2 === 0 ? run.id : `${run.id}/b` }));
  await forEachConcurrently(names, names.length, async ({ run, name }) => {
    if (!(await receivers.waitForFirst(name))) return;
    const answer = await api.send<Run | Problem>('POST', `/v1/runs/${run.id}/cancel`);
    if (answer.status === 200) run.cancelled = answer.body as Run;
    else if (answer.status === 409) run.refusal = (answer.body as Problem).code;
    else throw new Error(`run ${run.id} was answered ${answer.status}: ${JSON.stringify(answer.body)}`);
  });
}

/** Reads how every run ended. */
export async function readRuns(api: ApiClient, runs: readonly BookedRun[]): Promise<void> {
  await forEachConcurrently(runs, READS_AT_ONCE, async (run) => {
    run.ended = await api.expect<Run>([200], 'GET', `/v1/runs/${run.id}`);
  });
}
