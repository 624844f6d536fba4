import type { AttemptOutcome } from './finish-timers.ts';

/** A timer, live or ended, as it is shown. Instants in epoch ms, JSON as text. */
export interface TimerRecord {
  id: string;
  state: 'scheduled' | 'running' | 'paused' | 'succeeded' | 'dead' | 'cancelled' | 'skipped';
  version: number;
  attempt: number;
  dueAt: number;
  createdAt: number;
  /** Of a live timer that does not run: when a scheduler must look at it; infinity while it is paused. */
  wakeAt: number | null;
  finishedAt: number | null;
  /** The signal that a live timer waits for. */
  waitsFor: string | null;
  runId: string | null;
  workflowId: string | null;
  workflowVersion: number | null;
  taskKey: string | null;
  /** Of a mapped task: which element it is for. */
  path: string | null;
  timeZone: string | null;
  delay: string | null;
  action: string | null;
  payload: string | null;
  retry: string | null;
  timeoutMs: number | null;
  externalId: string | null;
  labels: string | null;
  /** JSON text: its key and rule. */
  concurrency: string | null;
  priority: number | null;
  /** The last attempt of one that ended. */
  startedAt: number | null;
  latenessMs: number | null;
  durationMs: number | null;
  outcome: AttemptOutcome | null;
  httpStatus: number | null;
  error: string | null;
  responseBody: string | null;
  /** What was left out because it is too large beside many others. */
  isActionOmitted?: boolean;
  isPayloadOmitted?: boolean;
}

/** What statements that return many timers may return of actions and payloads (bytes, as text). */
const ANSWER_BYTES_MAX = 4_194_304;
/** Values of a timer that may be large: its action and its payload. */
const LARGE_VALUES = 2;

/** How large each action and payload may be when so many timers are returned at once (bytes); one alone is never cut. */
export function shareAnswerBytes(timers: number): number {
  return Math.floor(ANSWER_BYTES_MAX / LARGE_VALUES / Math.max(1, timers));
}

const SHARED_COLUMNS = `id, state, version, attempt, due_at AS "dueAt", created_at AS "createdAt", run_id AS "runId",
  workflow_id AS "workflowId", workflow_version AS "workflowVersion", task_key AS "taskKey", path, time_zone AS "timeZone", delay,
  action, payload, retry, timeout_ms AS "timeoutMs", external_id AS "externalId", labels::json AS labels, concurrency, priority`;

/** The same columns, without actions and payloads that are larger than `bytesMax`, an SQL expression. */
export function omitLarge(columns: string, bytesMax: string): string {
  const keepSmall = (value: string) =>
    `CASE WHEN octet_length(${value}::text) <= ${bytesMax} THEN ${value} END AS ${value}`;
  const isLarge = (value: string) => `coalesce(octet_length(${value}::text) > ${bytesMax}, false)`;
  const small = columns.replace('action, payload,', `${keepSmall('action')}, ${keepSmall('payload')},`);
  return `${small}, ${isLarge('action')} AS "isActionOmitted", ${isLarge('payload')} AS "isPayloadOmitted"`;
}

/** What to select from `timers` for a TimerRecord. */
export const LIVE_COLUMNS = `${SHARED_COLUMNS}, wake_at AS "wakeAt",
  CASE WHEN state <> 'running' AND attempt = 0 THEN waits_for END AS "waitsFor", NULL::timestamptz(3) AS "finishedAt",
  NULL::timestamptz(3) AS "startedAt", NULL::float8 AS "latenessMs", NULL::int AS "durationMs",
  NULL::attempt_outcome AS outcome, NULL::smallint AS "httpStatus", NULL::text AS error, NULL::text AS "responseBody"`;

/** What to select from `finished_timers` and `dead_letters` for a TimerRecord. */
export const ENDED_COLUMNS = `${SHARED_COLUMNS}, NULL::timestamptz(3) AS "wakeAt", NULL::text AS "waitsFor", finished_at AS "finishedAt",
  started_at AS "startedAt", lateness_ms AS "latenessMs", duration_ms AS "durationMs", outcome,
  http_status AS "httpStatus", error, response_body AS "responseBody"`;
