import { check } from 'k6';
import http from 'k6/http';
import { Counter } from 'k6/metrics';
import { AUTHORIZATION, plan } from './load.ts';
import { DELAY_MS } from './plan.ts';

/** As much as the acceptance of the service assumes: a few identifiers and a text. */
const PAYLOAD = { customer: 42, text: 'x'.repeat(200) };
const HEADERS = { 'content-type': 'application/json', ...AUTHORIZATION };
/** An answer that says "too late" is as good as one that says "done": each keeps the promise that it makes. */
const DONE_OR_TOO_LATE = http.expectedStatuses(200, 409);
const TOO_LATE_CODES = ['timer_already_started', 'timer_finished'];
const STATUSES = ['scheduled', 'running', 'succeeded', 'cancelled'];

const created = new Counter('timers_created');
const changed = new Counter('timers_changed');
const cancelled = new Counter('timers_cancelled');
const read = new Counter('timers_read');
const refused = new Counter('timers_refused_too_late');

/** A timer as its VU knows it from the last answer. */
export interface KnownTimer {
  id: string;
  version: number;
  dueAt: number;
  isCancelled: boolean;
}

interface TimerAnswer {
  id: string;
  version: number;
  status: string;
  dueAt: string;
}

/** Writes down a promise of the api. k6 sends what scripts log to the journal. */
function promise(line: string): void {
  console.log(line);
}

function pickDueAt(): number {
  return Date.now() + DELAY_MS.min + Math.floor(Math.random() * (DELAY_MS.max - DELAY_MS.min));
}

/** One create. Undefined when the answer was another than 201. */
export function createTimer(): KnownTimer | undefined {
  const dueAt = pickDueAt();
  const text = new Date(dueAt).toISOString();
  const body = { dueAt: text, action: { type: 'http', url: plan.hookUrl }, payload: PAYLOAD };
  const response = http.post(`${plan.apiUrl}/v1/timers`, JSON.stringify(body), {
    headers: HEADERS,
    tags: { name: 'create' },
  });
  if (!check(response, { 'a create is answered 201': ({ status }) => status === 201 })) return undefined;
  const timer = response.json() as unknown as TimerAnswer;
  promise(`created ${timer.id} ${dueAt}`);
  created.add(1);
  check(timer, { 'a new timer is scheduled for when it was asked for': (t) => t.dueAt === text });
  return { id: timer.id, version: timer.version, dueAt, isCancelled: false };
}

/** Moves a timer to another due time, or is told that it is too late. */
export function changeTimer(timer: KnownTimer): void {
  const dueAt = pickDueAt();
  const response = http.patch(
    `${plan.apiUrl}/v1/timers/${timer.id}`,
    JSON.stringify({ dueAt: new Date(dueAt).toISOString() }),
    { headers: HEADERS, tags: { name: 'change' }, responseCallback: DONE_OR_TOO_LATE },
  );
  if (isTooLate(response)) return;
  if (!check(response, { 'a change is answered 200 or 409': ({ status }) => status === 200 })) return;
  promise(`changed ${timer.id} ${dueAt}`);
  changed.add(1);
  const answer = response.json() as unknown as TimerAnswer;
  check(answer, {
    'a change raises the version by one': ({ version }) => version === timer.version + 1,
    'a cancelled timer is not changed': () => !timer.isCancelled,
  });
  timer.version = answer.version;
  timer.dueAt = dueAt;
}

/** Cancels a timer, perhaps again, or is told that it is too late. */
export function cancelTimer(timer: KnownTimer): void {
  const response = http.post(`${plan.apiUrl}/v1/timers/${timer.id}/cancel`, null, {
    headers: AUTHORIZATION,
    tags: { name: 'cancel' },
    responseCallback: DONE_OR_TOO_LATE,
  });
  if (isTooLate(response)) {
    check(timer, { 'a cancel that is repeated is answered 200': ({ isCancelled }) => !isCancelled });
    return;
  }
  if (!check(response, { 'a cancel is answered 200 or 409': ({ status }) => status === 200 })) return;
  promise(`cancelled ${timer.id}`);
  cancelled.add(timer.isCancelled ? 0 : 1);
  timer.isCancelled = true;
  timer.version = (response.json() as unknown as TimerAnswer).version;
}

/** Reads a timer, which must be as this VU left it, or further in its life. */
export function readTimer(timer: KnownTimer): void {
  const response = http.get(`${plan.apiUrl}/v1/timers/${timer.id}`, {
    headers: AUTHORIZATION,
    tags: { name: 'read' },
  });
  if (!check(response, { 'a read is answered 200': ({ status }) => status === 200 })) return;
  read.add(1);
  check(response.json() as unknown as TimerAnswer, {
    'a read shows what was acknowledged': ({ status, version, dueAt }) =>
      STATUSES.includes(status) &&
      timer.isCancelled === (status === 'cancelled') &&
      version >= timer.version &&
      Date.parse(dueAt) === timer.dueAt,
  });
}

function isTooLate(response: { status: number; json(): unknown }): boolean {
  if (response.status !== 409) return false;
  refused.add(1);
  check(response.json() as { code?: string }, {
    'a 409 says that the timer has started or ended': ({ code }) => TOO_LATE_CODES.includes(code ?? ''),
  });
  return true;
}
