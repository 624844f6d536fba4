import { type ApiClient, type BatchResult, cut, forEachConcurrently, type Timer } from '../api-client.ts';
import type { Receivers } from './receivers.ts';
import { listFarRules } from './rules.ts';
import { type BookedTimer, buildRequest, hasExternalId, type PlannedTimer } from './timer-book.ts';

/** Timers in one batch: many where they are created as fast as it goes, fewer where that takes as long as the traffic. */
const BATCH_TIMERS = { atOnce: 250, paced: 100 };
const BATCHES_AT_ONCE = 3;
/** Timers that are created one by one: one in so many of those that are paced. */
const SINGLE_ONE_IN = 4;
const SINGLES_AT_ONCE = 16;
/** Timers that are due later are created at least so long before they are due (ms). */
const LATER_MIN_MS = 6_000;

export interface TrafficTimes {
  /** Epoch ms. */
  beganAt: number;
  /** From then to the first due time, and from the first to the last (ms). */
  leadMs: number;
  spreadMs: number;
}

/** Resolves at an instant (epoch ms), or at once when it is past: how traffic keeps its pace. */
export function waitForInstant(at: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, at - Date.now())));
}

/** Some of those that are created one by one have an idempotency key. */
function chooseKey(n: number): Record<string, string> | undefined {
  return n % 8 === 0 ? { 'idempotency-key': `create-${n}` } : undefined;
}

/**
 * Creates timers and returns them as acknowledged. `atOnce`: as fast as it goes. `paced`: each `leadMs` before it is
 * due, most in batches, some one by one, and some of these twice: by the same idempotency key or external id.
 */
export async function createTimers(
  api: ApiClient,
  receivers: Receivers,
  planned: readonly PlannedTimer[],
  { beganAt, leadMs, spreadMs }: TrafficTimes,
  pace: keyof typeof BATCH_TIMERS,
): Promise<BookedTimer[]> {
  const far = listFarRules(beganAt);
  const booked: BookedTimer[] = [];
  const keepPace = async ({ place }: PlannedTimer) => {
    if (pace === 'paced') await waitForInstant(beganAt + place * spreadMs);
  };
  const build = (timer: PlannedTimer) => {
    const plannedAt = beganAt + leadMs + timer.place * spreadMs;
    // A machine that is busy with other things may be behind the plan.
    const dueAt = Math.ceil(Math.max(plannedAt, Date.now() + LATER_MIN_MS) / 1000) * 1000;
    return { timer, ...buildRequest(timer, dueAt, receivers.urls, far) };
  };
  const book = ({ timer, rule }: ReturnType<typeof build>, created: Timer) => {
    booked.push({ n: timer.n, role: timer.role, target: timer.target, rule, created, changes: [], refusals: [] });
  };
  const createOne = async (timer: PlannedTimer) => {
    await keepPace(timer);
    const built = build(timer);
    const first = await api.send<Timer>('POST', '/v1/timers', built.request, chooseKey(timer.n));
    if (first.status !== 201) throw new Error(`a timer was answered ${first.status}: ${JSON.stringify(first.body)}`);
    book(built, first.body);
    const repeatedStatus = chooseKey(timer.n) ? 201 : hasExternalId(timer.n) ? 200 : undefined;
    if (repeatedStatus === undefined) return;
    const again = await api.send<Timer>('POST', '/v1/timers', built.request, chooseKey(timer.n));
    if (again.status !== repeatedStatus || again.body.id !== first.body.id)
      throw new Error(`a repeated creation was answered ${again.status}: ${JSON.stringify(again.body)}`);
  };
  const createBatch = async (timers: readonly PlannedTimer[]) => {
    await keepPace(timers[0]!);
    const built = timers.map(build);
    const body = { timers: built.map(({ request }) => request) };
    const { results } = await api.expect<{ results: BatchResult[] }>([207], 'POST', '/v1/timers/batch', body);
    for (const [index, result] of results.entries()) {
      if (!result.timer || result.status !== 201)
        throw new Error(`a timer was refused: ${JSON.stringify(result.error)}`);
      book(built[index]!, result.timer);
    }
  };
  const isSingle = ({ n }: PlannedTimer) => pace === 'paced' && n % SINGLE_ONE_IN === 0;
  const inBatches = planned.filter((timer) => !isSingle(timer));
  await Promise.all([
    forEachConcurrently(cut(inBatches, BATCH_TIMERS[pace]), BATCHES_AT_ONCE, createBatch),
    forEachConcurrently(planned.filter(isSingle), SINGLES_AT_ONCE, createOne),
  ]);
  return booked;
}
