import { type ApiClient, type BatchResult, cut, forEachConcurrently, type Problem, type Timer } from '../api-client.ts';
import { waitForInstant } from './create-timers.ts';
import type { Receivers } from './receivers.ts';
import type { BookedTimer } from './timer-book.ts';

const BATCH_TIMERS = 250;
const SINGLES_AT_ONCE = 16;
/** Half of the cancels and changes that race with the start are sent within this time before and after the due time (ms). */
const RACE_MS = 300;
/** The others are sent up to so long after it (ms): a machine that is busy may be late with all of its starts. */
const LATE_RACE_MS = 4_000;
const RACES_AT_ONCE = 64;
/** All races are over by then (ms). */
const RACES_END_MS = 60_000;
/** Between two looks at a timer whose first attempt is under way (ms); its backoff is much longer. */
const BETWEEN_PAUSE_MS = 200;

/** Writes down the answer to a change or a cancel: done, or refused. Any other answer ends the test. */
function note(timer: BookedTimer, status: number, body: Timer | Problem, apply: (answer: Timer) => void): void {
  if (status === 200) apply(body as Timer);
  else if (status === 409) timer.refusals.push((body as Problem).code);
  else throw new Error(`timer ${timer.created.id} was answered ${status}: ${JSON.stringify(body)}`);
}

function noteCancel(timer: BookedTimer, status: number, body: Timer | Problem): void {
  note(timer, status, body, ({ attempt }) => {
    timer.cancelledAfter = attempt;
  });
}

function noteChange(timer: BookedTimer, status: number, body: Timer | Problem): void {
  note(timer, status, body, ({ attempt, version, dueAt, payload }) => {
    const { revision } = payload as { revision: number };
    timer.changes.push({ attempt, version, revision, dueAt: Date.parse(dueAt) });
  });
}

/** Cancels timers, by each of the three routes in turn. */
export async function cancelTimers(api: ApiClient, timers: readonly BookedTimer[]): Promise<void> {
  const inBatches = timers.filter((_, index) => index % 3 === 0);
  for (const batch of cut(inBatches, BATCH_TIMERS)) {
    const body = { ids: batch.map(({ created }) => created.id) };
    const { results } = await api.expect<{ results: BatchResult[] }>([207], 'POST', '/v1/timers/batch/cancel', body);
    for (const [index, result] of results.entries())
      noteCancel(batch[index]!, result.status, (result.timer ?? result.error)!);
  }
  await forEachConcurrently(
    timers.filter((_, index) => index % 3 !== 0),
    SINGLES_AT_ONCE,
    (timer) => cancelTimer(api, timer),
  );
}

async function cancelTimer(api: ApiClient, timer: BookedTimer): Promise<void> {
  const [method, path] = timer.n % 2 === 0 ? ['POST', '/cancel'] : ['DELETE', ''];
  const answer = await api.send<Timer | Problem>(method!, `/v1/timers/${timer.created.id}${path}`);
  noteCancel(timer, answer.status, answer.body);
}

/** Changes payloads and due times, one by one and in batches. The due times stay within the traffic's. */
export async function changeTimers(api: ApiClient, timers: readonly BookedTimer[]): Promise<void> {
  const build = (timer: BookedTimer, index: number) => {
    const payload = { n: timer.n, revision: 2 };
    const laterMs = Date.parse(timer.created.dueAt) + 1_000;
    if (index % 4 === 1) return { payload, dueAt: new Date(laterMs).toISOString() };
    // A new delay counts from the timer's creation.
    const seconds = Math.ceil((laterMs - Date.parse(timer.created.createdAt)) / 1000);
    if (index % 4 === 2) return { payload, delay: { type: 'duration', value: seconds, unit: 'seconds' } };
    return { payload };
  };
  const half = Math.ceil(timers.length / 2);
  for (const batch of cut(timers.slice(0, half), BATCH_TIMERS)) {
    const body = { timers: batch.map((timer, index) => ({ id: timer.created.id, ...build(timer, index) })) };
    const { results } = await api.expect<{ results: BatchResult[] }>([207], 'PATCH', '/v1/timers/batch', body);
    for (const [index, result] of results.entries())
      noteChange(batch[index]!, result.status, (result.timer ?? result.error)!);
  }
  await forEachConcurrently(timers.slice(half), SINGLES_AT_ONCE, (timer) =>
    changeTimer(api, timer, build(timer, timer.n)),
  );
}

async function changeTimer(api: ApiClient, timer: BookedTimer, change: object): Promise<void> {
  const answer = await api.send<Timer | Problem>('PATCH', `/v1/timers/${timer.created.id}`, change);
  noteChange(timer, answer.status, answer.body);
}

function chooseOffsetMs(index: number): number {
  const place = (index % 41) / 40;
  return index % 2 === 0 ? (2 * place - 1) * RACE_MS : place * LATE_RACE_MS;
}

/** Sends each cancel or change at about the moment at which its timer is due. */
export async function raceWithStarts(api: ApiClient, timers: readonly BookedTimer[]): Promise<void> {
  const appointments = timers
    // One that is due on another day is told by the check of due times.
    .filter(({ created }) => Date.parse(created.dueAt) < Date.now() + RACES_END_MS)
    .map((timer, index) => ({ timer, at: Date.parse(timer.created.dueAt) + chooseOffsetMs(index) }))
    .toSorted((a, b) => a.at - b.at);
  await forEachConcurrently(appointments, RACES_AT_ONCE, async ({ timer, at }) => {
    await waitForInstant(at);
    if (timer.role === 'cancelRace') await cancelTimer(api, timer);
    else await changeTimer(api, timer, { payload: { n: timer.n, revision: 2 } });
  });
}

/** Cancels or changes each timer while it waits between its first and its second attempt. */
export async function actBetweenAttempts(
  api: ApiClient,
  receivers: Receivers,
  timers: readonly BookedTimer[],
): Promise<void> {
  await forEachConcurrently(timers, timers.length, async (timer) => {
    const { id } = timer.created;
    if (!(await receivers.waitForFirst(id))) return;
    let seen: Timer;
    do {
      await new Promise((resolve) => setTimeout(resolve, BETWEEN_PAUSE_MS));
      seen = await api.expect<Timer>([200], 'GET', `/v1/timers/${id}`);
    } while (seen.attempt === 1 && seen.status === 'running');
    if (timer.role === 'cancelBetween') await cancelTimer(api, timer);
    else await changeTimer(api, timer, { payload: { n: timer.n, revision: 2 } });
  });
}

/** Makes timers due now that would be due in days. */
export async function fireTimers(api: ApiClient, timers: readonly BookedTimer[]): Promise<void> {
  await forEachConcurrently(timers, SINGLES_AT_ONCE, async (timer) => {
    const answer = await api.send<Timer | Problem>('POST', `/v1/timers/${timer.created.id}/fire`);
    noteChange(timer, answer.status, answer.body);
  });
}
