import {
  cancelLoneTimers,
  cancelTimers,
  changeTimers,
  createNamedTimers,
  createRequestedTimers,
  dismissDeadLetter,
  finishTimers,
  fireTimer,
  inTransaction,
  pauseTimers,
  postponeTimers,
  type RequestedTimer,
  redriveTimers,
  restartTimers,
  resumeTimers,
  retryTimers,
  startTimers,
  type TimerVersion,
} from '@punctual/database';
import { TEST_ORIGIN } from '@punctual/testkit';
import type pg from 'pg';
import { runAlone } from './actor.ts';
import type { OutcomeKind } from './steps.ts';
import * as model from './timer-model.ts';

/** One timer that an operation names, and what it must make of it. */
export interface Target {
  id: string;
  change: model.Change;
}

/** One statement of the product, with what the model says of it. */
export interface Operation {
  kind: 'create' | 'edit' | 'fire' | 'cancel' | 'pause' | 'resume' | 'start' | 'outcome' | 'redrive' | 'dismiss';
  name: string;
  /** In the order in which the statement locks them. */
  targets: readonly Target[];
  /** It locks its rows in one part, and reckons what becomes of them in a later one. */
  locksFirst?: boolean;
  creates?: Parameters<typeof model.create>[0];
  run: (pool: pg.Pool) => Promise<unknown>;
  /** One line for each timer that it changed, by its answer and by the model; undefined: the answer does not say which. */
  showRow?: (row: Row) => string;
  showTimer?: (timer: model.ModelTimer, nowUs: number) => string;
}

/** A row as pg gives it. */
export type Row = Record<string, number | string | null>;

/** An attempt in a worker's hands. */
export interface Started extends TimerVersion {
  attempt: number;
  maxRetries: number;
}

/** Time-outs of the timers of histories; every row has its own, so the default is never used. */
const TIMEOUT_MS_UNUSED = 1;
const sortTargets = (targets: readonly Target[]) => targets.toSorted((a, b) => (a.id < b.id ? -1 : 1));
const showId = { showRow: ({ id }: Row) => String(id), showTimer: ({ id }: model.ModelTimer) => id };

const showEdited = {
  showRow: (row: Row) =>
    `${row.id} v${row.version} ${row.state} due ${row.dueAt} wake ${row.wakeAt} attempt ${row.attempt} ${row.payload}`,
  showTimer: (timer: model.ModelTimer) =>
    `${timer.id} v${timer.version} ${timer.state} due ${timer.dueAt} wake ${timer.wakeAt} attempt ${timer.attempt} ${writePayload(timer.payload)}`,
};
const ms = (value: number | string | null | undefined) => Math.round(Number(value) * 1000) / 1000;
const showStarted = {
  showRow: (row: Row) =>
    `${row.id} v${row.version} attempt ${row.attempt} lost ${row.lost} wake ${ms(row.wake_at)} due ${ms(row.due_at)} at ${ms(row.started_at)} ${row.payload}`,
  showTimer: (timer: model.ModelTimer, nowUs: number) =>
    `${timer.id} v${timer.version} attempt ${timer.attempt} lost ${timer.lost} wake ${timer.wakeAt} due ${timer.dueAt} at ${nowUs / 1000} ${writePayload(timer.payload)}`,
};

/** The payload that tells which edit wrote it. */
export function writePayload(edit: number): string {
  return `{"edit":${edit}}`;
}

export function createOne(tenantId: string, fields: NonNullable<Operation['creates']>, isNamed: boolean): Operation {
  const timer: RequestedTimer = {
    id: fields.id,
    tenantId,
    partition: fields.partition,
    dueAt: fields.dueAt,
    createdAt: fields.dueAt,
    runId: null,
    workflowId: null,
    workflowVersion: null,
    taskKey: null,
    timeZone: null,
    delay: null,
    action: '{"type":"noop"}',
    payload: writePayload(0),
    retry: JSON.stringify({ maxRetries: fields.maxRetries }),
    timeoutMs: fields.timeoutMs,
    externalId: null,
    labels: null,
    waitsFor: null,
    origin: TEST_ORIGIN,
  };
  const run = runAlone((client) => (isNamed ? createNamedTimers : createRequestedTimers)(client, [timer]));
  return { kind: 'create', name: `create ${fields.id}`, targets: [], creates: fields, run };
}

/** `version` null: an edit that does not depend on what is there. */
export function editOne(
  tenantId: string,
  { id, version }: { id: string; version: number | null },
  payload: number,
  dueAt: number | undefined,
): Operation {
  const due = dueAt === undefined ? {} : { due: { dueAt, delay: null } };
  return {
    kind: 'edit',
    name: `edit ${id} ${version === null ? 'whatever its version' : `v${version}`}`,
    targets: [{ id, change: model.edit(version, payload, dueAt) }],
    run: runAlone((client) =>
      changeTimers(client, tenantId, [{ id, version, payload: writePayload(payload), ...due, origin: TEST_ORIGIN }]),
    ),
    ...showEdited,
  };
}

export function fireOne(tenantId: string, id: string): Operation {
  return {
    kind: 'fire',
    name: `fire ${id}`,
    targets: [{ id, change: model.fire }],
    run: runAlone((client) => fireTimer(client, tenantId, id, TEST_ORIGIN)),
    ...showEdited,
  };
}

/** None of the timers belongs to a run, so both of the statements that cancel must do the same to them. */
export function cancelSome(tenantId: string, ids: readonly string[], isLone: boolean): Operation {
  const requests = ids.map((id) => ({ id, origin: TEST_ORIGIN }));
  return {
    kind: 'cancel',
    name: `cancel ${ids}${isLone ? ', which are of no run' : ''}`,
    targets: sortTargets([...new Set(ids)].map((id) => ({ id, change: model.cancel }))),
    run: runAlone((client) => (isLone ? cancelLoneTimers : cancelTimers)(client, tenantId, requests)),
    ...showId,
  };
}

const showParked = {
  showRow: ({ id, version }: Row) => `${id} v${version}`,
  showTimer: ({ id, version }: model.ModelTimer) => `${id} v${version}`,
};

export function pauseOne(tenantId: string, id: string): Operation {
  return {
    kind: 'pause',
    name: `pause ${id}`,
    targets: [{ id, change: model.pause }],
    run: runAlone((client) => pauseTimers(client, tenantId, [{ id, origin: TEST_ORIGIN }])),
    ...showParked,
  };
}

export function resumeOne(tenantId: string, id: string): Operation {
  return {
    kind: 'resume',
    name: `resume ${id}`,
    targets: [{ id, change: model.resume }],
    // It reckons the wake time when it has the lock.
    locksFirst: true,
    run: runAlone((client) => resumeTimers(client, tenantId, [{ id, origin: TEST_ORIGIN }])),
    ...showParked,
  };
}

const showHints = (hints: readonly TimerVersion[]) => hints.map(({ id, version }) => `${id} v${version}`).join(', ');

export function startSome(hints: readonly TimerVersion[]): Operation {
  return {
    kind: 'start',
    name: `start ${showHints(hints)}`,
    targets: sortTargets(hints.map(({ id, version }) => ({ id, change: model.start(version) }))),
    run: runAlone((client) => startTimers(client, hints, TIMEOUT_MS_UNUSED, model.LEASE_MARGIN_MS)),
    ...showStarted,
  };
}

export function restartSome(hints: readonly TimerVersion[]): Operation {
  return {
    kind: 'start',
    name: `restart ${showHints(hints)}`,
    targets: sortTargets(hints.map(({ id, version }) => ({ id, change: model.restart(version) }))),
    run: (pool) => restartTimers(pool, hints, TIMEOUT_MS_UNUSED, model.LEASE_MARGIN_MS),
    ...showStarted,
  };
}

/** Writes what attempts came to, as a worker decides it: a passing failure is retried while retries are left. */
export function writeOutcomes(kind: OutcomeKind, attempts: readonly Started[], waitMs: number): Operation[] {
  const record = {
    outcome: kind === 'success' ? 'succeeded' : kind === 'finalFailure' ? 'permanent' : 'retryable',
    startedAt: 0,
    latenessMs: 0,
    durationMs: 1,
    httpStatus: null,
    error: null,
    responseBody: null,
  } as const;
  const describe = (
    verb: string,
    chosen: readonly Started[],
    change: (attempt: Started) => model.Change,
    run: (chosen: readonly Started[]) => Operation['run'],
  ): Operation[] =>
    chosen.length === 0
      ? []
      : [
          {
            kind: 'outcome',
            name: `${verb} ${showHints(chosen)}`,
            targets: sortTargets(chosen.map((attempt) => ({ id: attempt.id, change: change(attempt) }))),
            run: run(chosen),
            ...showId,
          },
        ];
  const end = (state: 'succeeded' | 'dead', chosen: readonly Started[]) =>
    describe(
      state === 'dead' ? 'bury' : 'succeed',
      chosen,
      ({ version }) => model.finish(version, state, record.outcome),
      (timers) =>
        runAlone((client) =>
          finishTimers(
            client,
            timers.map(({ id, version }) => ({ ...record, id, version, state })),
          ),
        ),
    );
  if (kind === 'success') return end('succeeded', attempts);
  if (kind === 'finalFailure') return end('dead', attempts);
  if (kind === 'unsent') {
    return describe(
      'postpone',
      attempts,
      ({ version }) => model.postpone(version, waitMs),
      (timers) =>
        runAlone((client) =>
          postponeTimers(
            client,
            timers.map(({ id, version }) => ({ id, version, waitMs })),
          ),
        ),
    );
  }
  const hasRetry = ({ attempt, maxRetries }: Started) => attempt <= maxRetries;
  return [
    ...describe(
      'retry',
      attempts.filter(hasRetry),
      ({ version }) => model.retry(version, waitMs, record.outcome),
      (timers) =>
        runAlone((client) =>
          retryTimers(
            client,
            timers.map(({ id, version }) => ({ ...record, id, version, waitMs })),
          ),
        ),
    ),
    ...end(
      'dead',
      attempts.filter((attempt) => !hasRetry(attempt)),
    ),
  ];
}

export function redriveSome(tenantId: string, ids: readonly string[]): Operation {
  return {
    kind: 'redrive',
    name: `redrive ${ids}`,
    locksFirst: true,
    targets: sortTargets([...new Set(ids)].map((id) => ({ id, change: model.redrive }))),
    run: runAlone((client) => redriveTimers(client, tenantId, ids, [])),
    ...showId,
  };
}

export function dismissOne(tenantId: string, id: string): Operation {
  return {
    kind: 'dismiss',
    name: `dismiss ${id}`,
    targets: [{ id, change: model.dismiss }],
    // Its answer is a count.
    run: (pool) => inTransaction(pool, (client) => dismissDeadLetter(client, tenantId, id)),
  };
}
