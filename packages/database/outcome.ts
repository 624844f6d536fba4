import { computeBackoffMs, type RetryPolicy, readOnTimeout } from '@punctual/domain';
import type { AttemptOutcome, FinishedAttempt, RescheduledAttempt } from './queries/finish-timers.ts';
import type { GateKey } from './queries/gates.ts';
import type { StartedTimer } from './queries/start-timers.ts';
import type { WorkflowVersion } from './workflow-versions.ts';

/** What an outcome has to know of the timer that was started. */
export type Started = Pick<StartedTimer, 'id' | 'version' | 'attempt' | 'wake_at' | 'started_at' | 'run_id'>;

/** What an attempt came to, as its target, or a worker of the customer, tells it. */
export interface AttemptResult {
  outcome: Exclude<AttemptOutcome, 'lost'>;
  httpStatus?: number | undefined;
  error?: string | undefined;
  retryAfterMs?: number | undefined;
  responseBody?: string | undefined;
  /** What the task yields for others, as JSON text; undefined when it yields nothing. */
  output?: string | undefined;
  durationMs: number;
}

/** What is to be written of a started timer. */
export type Outcome =
  | { kind: 'finished'; runId: string | null; record: FinishedAttempt; output?: string | undefined }
  | { kind: 'retry'; runId: string | null; record: RescheduledAttempt }
  | { kind: 'postponed'; runId: string | null; id: string; version: number; waitMs: number }
  | { kind: 'held'; runId: string | null; id: string; version: number; gates: readonly GateKey[] }
  /** Whoever made the attempt has written already what comes of it. */
  | { kind: 'settled'; runId: null; id: string };

/**
 * The next state of a timer by the result of its attempt: ended by success, waiting for its next attempt after a
 * passing fault while the policy allows one, else a dead letter. `random` yields numbers in [0, 1).
 */
export function decideOutcome(
  timer: Started,
  result: AttemptResult,
  policy: RetryPolicy,
  random: () => number,
): Outcome {
  const record = {
    id: timer.id,
    version: timer.version,
    outcome: result.outcome,
    startedAt: timer.started_at,
    latenessMs: timer.started_at - timer.wake_at,
    durationMs: result.durationMs,
    httpStatus: result.httpStatus ?? null,
    error: result.error ?? null,
    responseBody: result.responseBody ?? null,
  };
  if (result.outcome === 'succeeded') {
    const { output } = result;
    return { kind: 'finished', runId: timer.run_id, record: { ...record, state: 'succeeded' }, output };
  }
  const mayPass = result.outcome === 'retryable' || result.outcome === 'timedOut';
  if (mayPass && timer.attempt <= policy.maxRetries) {
    const waitMs = computeBackoffMs(policy, timer.attempt, random, result.retryAfterMs);
    return { kind: 'retry', runId: timer.run_id, record: { ...record, waitMs } };
  }
  return { kind: 'finished', runId: timer.run_id, record: { ...record, state: 'dead' } };
}

/** A timer that was started and could not be sent: it is back in `waitMs`, and the attempt does not count. */
export function postpone(timer: Started, waitMs: number): Outcome {
  return { kind: 'postponed', runId: timer.run_id, id: timer.id, version: timer.version, waitMs };
}

/** A timer whose request can not be made, now or later: it becomes a dead letter without being sent. */
export function giveUpUnsent(
  timer: StartedTimer,
  error: string,
  outcome: 'permanent' | 'timedOut' = 'permanent',
): Outcome {
  return {
    kind: 'finished',
    runId: timer.run_id,
    record: {
      id: timer.id,
      version: timer.version,
      state: 'dead',
      outcome,
      startedAt: timer.started_at,
      latenessMs: timer.started_at - timer.wake_at,
      durationMs: 0,
      httpStatus: null,
      error,
      responseBody: null,
    },
  };
}

/** A task that was sent again, and that its condition leaves out by now: it ends as skipped without being sent. */
export function leaveOut(timer: StartedTimer): Outcome {
  return {
    kind: 'finished',
    runId: timer.run_id,
    record: {
      id: timer.id,
      version: timer.version,
      state: 'skipped',
      outcome: null,
      startedAt: timer.started_at,
      latenessMs: timer.started_at - timer.wake_at,
      durationMs: 0,
      httpStatus: null,
      error: null,
      responseBody: null,
    },
  };
}

/** The end of a started timer whose signal did not come in time, where its task is not to be tried then; undefined for all others. */
export function giveUpWaiting(timer: StartedTimer, version: WorkflowVersion): Outcome | undefined {
  if (timer.waits_for === null) return undefined;
  const delay = version.tasks.find(({ key }) => key === timer.task_key)?.delay;
  if (readOnTimeout(delay) !== 'fail') return undefined;
  return giveUpUnsent(timer, `the signal "${timer.waits_for}" did not come in time`, 'timedOut');
}

/** A timer that was started and not sent, because one of these gates may hold it back: the database knows what becomes of it. */
export function hold(timer: StartedTimer, gates: readonly GateKey[]): Outcome {
  return { kind: 'held', runId: timer.run_id, id: timer.id, version: timer.version, gates };
}

/** A timer whose attempt was lost with its worker again and again: it becomes a dead letter without being sent. */
export function giveUpLost(timer: StartedTimer): Outcome {
  return {
    kind: 'finished',
    runId: timer.run_id,
    record: {
      id: timer.id,
      version: timer.version,
      state: 'dead',
      outcome: 'lost',
      startedAt: timer.started_at,
      latenessMs: timer.started_at - timer.wake_at,
      durationMs: 0,
      httpStatus: null,
      error: `the worker was lost ${timer.lost} times in a row during this attempt`,
      responseBody: null,
    },
  };
}
