import { choosePartition, createId, OCCURRENCES_PER_TURN_MAX, takeDue } from '@punctual/domain';
import type { Transaction } from '../connect.ts';
import { claimRunExternalIds, findRunsByExternalId } from '../queries/claim-run-external-ids.ts';
import { claimTimerExternalIds, findTimersByExternalId } from '../queries/claim-timer-external-ids.ts';
import { readWorkflowHeads, type WorkflowHead } from '../queries/create-runs.ts';
import { createTimers } from '../queries/create-timers.ts';
import type { NewTimer } from '../queries/new-timer-columns.ts';
import { openOccurrences, readSpec, saveSchedule } from '../queries/schedules.ts';
import type { TimerVersion } from '../queries/start-timers.ts';
import { countLiveTimers } from '../queries/tenant-limits.ts';
import { nameStatement } from '../statement.ts';
import type { ScheduleRow } from '../tables.ts';
import type { WorkflowVersions } from '../workflow-versions.ts';
import { type BegunRun, beginRun, prepareBeginning, storeRuns } from './run-beginning.repository.ts';
import { WHEN_COST_PER_RUN_MAX } from './run-facts.ts';

/**
 * What a turn of a schedule's timer came to. `gone`: the schedule wants this timer no more. `moved`: the transaction has moved the
 * timer to its next turn, so nothing else is to be written of this one.
 */
export type ScheduleTurn = { kind: 'gone' } | { kind: 'early'; againInMs: number } | { kind: 'moved'; begun: number };

/** Between two looks whether what holds an occurrence back is over (ms): a quarter of what it has waited, within these. */
const LOOK_PAUSE_MS_MIN = 250;
const LOOK_PAUSE_MS_MAX = 10_000;
/**
 * What the conditions of a turn's runs may cost: the run that goes beyond it is the turn's last, and the next turn goes on behind
 * it. So a turn costs less than two runs may, and each run has all that one may, however many are due.
 */
const WHEN_COST_PER_TURN_MAX = WHEN_COST_PER_RUN_MAX;

type LockedSchedule = ScheduleRow & {
  /** The database's time at the lock (epoch ms). */
  locked_at: number;
  /** How many live timers its tenant may have; null: any number. */
  limit: number | null;
};

const lockForTurn = nameStatement<LockedSchedule>(
  'lock_schedule_for_turn',
  `SELECT s.*, date_part('epoch', clock_timestamp()) * 1000 AS locked_at, coalesce(
     (SELECT t.live_timers_max FROM tenants AS t WHERE t.id = s.tenant_id), s.live_timers_max) AS limit
   FROM schedules AS s WHERE s.id = $1 FOR UPDATE`,
);
const moveTimer = nameStatement(
  'move_schedule_timer',
  `UPDATE timers SET state = 'scheduled', version = version + 1, attempt = 0, lost = 0, lease_ends_at = NULL,
     due_at = to_timestamp($3::float8 / 1000), wake_at = greatest(to_timestamp($3::float8 / 1000), clock_timestamp())
   WHERE id = $1 AND version = $2 AND state = 'running'`,
);

/**
 * Begins what is due of a schedule, and moves it and its timer on, in the transaction of `client`: all of it is committed, or
 * nothing. Whoever has locked the row decides, so two timers, or one that was started twice, begin nothing twice; and each
 * occurrence has an external id, which the database holds unique.
 */
export async function turnSchedule(
  client: Transaction,
  versions: WorkflowVersions,
  scheduleId: string,
  timer: TimerVersion,
  partitionCount: number,
): Promise<ScheduleTurn> {
  const [locked] = await lockForTurn(client, [scheduleId]);
  if (locked?.status !== 'active' || locked.timer_id !== timer.id) return { kind: 'gone' };
  const { locked_at, limit, ...row } = locked;
  const now = Math.floor(locked_at);
  const isEarly = row.waiting.length === 0 && row.next_due_at !== null && row.next_due_at > now;
  if (isEarly) return { kind: 'early', againInMs: row.next_due_at! - now };

  const head = row.workflow_id === null ? undefined : (await readWorkflowHeads(client, [row.workflow_id]))[0];
  const room = limit === null ? Number.POSITIVE_INFINITY : limit - (await countLiveTimers(client, row.tenant_id));
  const bar = findBar(row, head, room);
  if (bar?.isFinal) {
    const failure = describeFailure(bar, now);
    await saveSchedule(client, {
      ...row,
      status: 'ended',
      timer_id: null,
      waiting: [],
      next_at: null,
      next_due_at: null,
      failure,
    });
    return { kind: 'gone' };
  }
  const turn = bar
    ? { row: { ...row, failure: describeFailure(bar, now) }, begun: 0 }
    : await advance(client, versions, { row, head, room, now, partitionCount });
  const wakeAt = chooseWake(turn.row, now, bar !== undefined);
  if (wakeAt === undefined) {
    await saveSchedule(client, { ...turn.row, status: 'ended', timer_id: null });
    return { kind: 'gone' };
  }
  await saveSchedule(client, turn.row);
  await moveTimer(client, [timer.id, timer.version, wakeAt]);
  return { kind: 'moved', begun: turn.begun };
}

interface Bar {
  code: string;
  detail: string;
  /** It will not be over. */
  isFinal?: boolean;
}

/** What keeps a schedule from beginning anything. */
function findBar(row: ScheduleRow, head: WorkflowHead | undefined, room: number): Bar | undefined {
  if (row.workflow_id !== null) {
    if (head?.tenant_id !== row.tenant_id)
      return { code: 'workflow_not_found', detail: 'There is no such workflow.', isFinal: true };
    if (head.status === 'archived')
      return { code: 'workflow_archived', detail: 'The workflow is archived and begins no runs.', isFinal: true };
    if (head.status === 'paused')
      return { code: 'workflow_paused', detail: 'The workflow is paused and begins no runs.' };
  }
  return room >= 1
    ? undefined
    : { code: 'quota_exceeded', detail: 'The tenant has as many live timers as it may have.' };
}

function describeFailure({ code, detail }: Bar, now: number): string {
  return JSON.stringify({ code, detail, at: new Date(now).toISOString() });
}

interface Advance {
  row: ScheduleRow;
  head: WorkflowHead | undefined;
  room: number;
  now: number;
  partitionCount: number;
}

/** Takes what is due, and begins what may begin. */
async function advance(client: Transaction, versions: WorkflowVersions, turn: Advance) {
  const { row, now } = turn;
  const { overlap, missedRuns } = readSpec(row);
  const occurrences = openOccurrences(row);
  const progress = takeDue(occurrences, { handledAt: row.handled_at, waiting: row.waiting }, missedRuns, now);
  const next = occurrences.next(progress.handledAt);
  const isOne = overlap !== 'allow';
  const last = isOne && progress.waiting.length > 0 ? await lookAtLast(client, row) : undefined;
  const isHeld = last?.is_live === true;
  // What begins behind another one is not made before that has ended.
  const begunAt = Math.max(now, Math.ceil(last?.read_at ?? 0));
  const wanted = isHeld ? [] : progress.waiting.slice(0, isOne ? 1 : OCCURRENCES_PER_TURN_MAX);
  const begun = await begin(client, versions, { ...turn, now: begunAt }, wanted);
  const latest = begun.at(-1);
  return {
    row: {
      ...row,
      handled_at: progress.handledAt,
      // What overlaps is left out, or waits for its turn.
      waiting: overlap === 'skip' ? [] : progress.waiting.slice(begun.length),
      next_at: next?.at ?? null,
      next_due_at: next?.dueAt ?? null,
      failure: null,
      ...(latest && { last_target_id: latest.targetId, last_occurrence_at: latest.at, last_begun_at: begunAt }),
    },
    begun: begun.length,
  };
}

// A statement of its own: one that waits for the lock would see the runs as they were before it waited.
const selectLast = nameStatement<{ is_live: boolean; read_at: number }>(
  'read_last_target_of_schedule',
  `SELECT EXISTS (
     SELECT FROM runs WHERE id = $1 AND finished_at IS NULL UNION ALL SELECT FROM timers WHERE id = $1
   ) AS is_live, date_part('epoch', clock_timestamp()) * 1000 AS read_at`,
);

/** Whether what the schedule began last is under way, and when that was so (epoch ms). */
async function lookAtLast(client: Transaction, { last_target_id: id }: ScheduleRow) {
  const [last] = await selectLast(client, [id]);
  return last!;
}

/** An occurrence that has its run or timer. */
interface Begun {
  at: number;
  targetId: string;
}

/** Begins occurrences in order: at least the first, and of the others as many as the tenant has room for. */
function begin(client: Transaction, versions: WorkflowVersions, turn: Advance, wanted: readonly number[]) {
  if (wanted.length === 0) return [];
  return turn.head ? beginRuns(client, versions, turn, turn.head, wanted) : beginTimers(client, turn, wanted);
}

/** What names an occurrence, among all runs or timers of its tenant. */
export function nameOccurrence(scheduleId: string, at: number): string {
  return `schedule:${scheduleId}:${new Date(at).toISOString()}`;
}

async function beginRuns(
  client: Transaction,
  versions: WorkflowVersions,
  { row, room, now, partitionCount }: Advance,
  head: WorkflowHead,
  wanted: readonly number[],
): Promise<Begun[]> {
  const version = await versions.read(client, head.id, head.version);
  const order = {
    tenantId: row.tenant_id,
    workflowId: head.id,
    input: row.input,
    labels: row.labels && JSON.stringify(row.labels),
    isPaused: false,
  };
  // Its tasks count their delays from the occurrence, however late it begins.
  const runs: (BegunRun & { at: number })[] = [];
  let cost = 0;
  for (const at of wanted) {
    if (cost >= WHEN_COST_PER_TURN_MAX) break;
    const id = createId();
    const externalId = nameOccurrence(row.id, at);
    const purse = { left: WHEN_COST_PER_RUN_MAX };
    const beginning = prepareBeginning(version, at, row.input, purse);
    cost += WHEN_COST_PER_RUN_MAX - purse.left;
    runs.push({ at, ...beginRun(beginning, id, { ...order, externalId }, choosePartition(id, partitionCount), now) });
  }
  const fitting = cutToRoom(runs, room, ({ timers }) => timers.length);
  const names = fitting.map(({ run }) => ({ tenantId: run.tenantId, externalId: run.externalId!, runId: run.id }));
  const claimed = await claimRunExternalIds(client, names);
  await storeRuns(
    client,
    fitting.filter(({ run }) => claimed.has(run.id)),
  );
  const taken = await findRunsByExternalId(
    client,
    names.filter(({ runId }) => !claimed.has(runId)),
  );
  const others = new Map(taken.map(({ externalId, runId }) => [externalId, runId]));
  return fitting.map(({ at, run }) => ({ at, targetId: others.get(run.externalId!) ?? run.id }));
}

async function beginTimers(
  client: Transaction,
  { row, room, now, partitionCount }: Advance,
  wanted: readonly number[],
) {
  const timers = wanted.map((at) =>
    makeScheduledTimer(row, { at, now, partitionCount, name: nameOccurrence(row.id, at) }),
  );
  const fitting = cutToRoom(timers, room, () => 1);
  const names = fitting.map(({ id, externalId }) => ({ externalId: externalId!, timerId: id }));
  const claimed = await claimTimerExternalIds(client, row.tenant_id, names);
  await createTimers(
    client,
    fitting.filter(({ id }) => claimed.has(id)),
  );
  const taken = names.filter(({ timerId }) => !claimed.has(timerId)).map(({ externalId }) => externalId);
  const others =
    taken.length > 0 ? await findTimersByExternalId(client, row.tenant_id, taken) : new Map<string, string>();
  return fitting.map(({ id, dueAt, externalId }): Begun => ({ at: dueAt, targetId: others.get(externalId!) ?? id }));
}

/** The timer of an occurrence at that instant, or of somebody who wants one now: that has no name. */
export function makeScheduledTimer(
  row: ScheduleRow,
  { at, now, partitionCount, name }: { at: number; now: number; partitionCount: number; name: string | null },
): NewTimer {
  const id = createId();
  const { action } = row;
  const { type, queue } = JSON.parse(action!) as { type: string; queue?: string };
  return {
    id,
    tenantId: row.tenant_id,
    partition: choosePartition(id, partitionCount),
    dueAt: at,
    createdAt: now,
    runId: null,
    workflowId: null,
    workflowVersion: null,
    taskKey: null,
    timeZone: null,
    delay: null,
    action,
    payload: row.payload,
    retry: row.retry,
    timeoutMs: row.timeout_ms,
    externalId: name,
    labels: row.labels && JSON.stringify(row.labels),
    pullQueue: type === 'pull' ? queue! : null,
    priority: row.priority,
    waitsFor: null,
  };
}

function cutToRoom<Item>(items: readonly Item[], room: number, count: (item: Item) => number): Item[] {
  let used = 0;
  return items.filter((item, index) => {
    used += count(item);
    return index === 0 || used <= room;
  });
}

/** When the schedule is to be looked at next (epoch ms); undefined when there is nothing left of it. */
function chooseWake(
  { waiting, next_at, next_due_at }: ScheduleRow,
  now: number,
  isBarred: boolean,
): number | undefined {
  const [oldest = next_at] = waiting;
  if (oldest === null || oldest === undefined) return undefined;
  const pause = Math.min(Math.max((now - oldest) / 4, LOOK_PAUSE_MS_MIN), LOOK_PAUSE_MS_MAX);
  if (isBarred) return now + pause;
  if (waiting.length === 0) return next_due_at!;
  // What is due already found no room, or is to be taken in the next portion, for which there is time.
  return next_due_at !== null && next_due_at > now ? Math.min(next_due_at, now + pause) : now + pause;
}
