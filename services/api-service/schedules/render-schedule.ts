import type { Schedule } from '@punctual/contracts';
import { readSpec, type ScheduleRow } from '@punctual/database';
import { type Action, formatInstant, maskAction } from '@punctual/domain';
import { formatETag } from '../workflows/etag.ts';

/** A schedule as the api shows it. */
export function renderSchedule(row: ScheduleRow): Schedule {
  const { rule, timeZone, startAt, endAt, jitterMs, overlap, missedRuns } = readSpec(row);
  return {
    id: row.id,
    ...(row.name !== null && { name: row.name }),
    status: row.status,
    version: row.version,
    rule,
    timeZone,
    ...(startAt !== null && { startAt: formatInstant(startAt) }),
    ...(endAt !== null && { endAt: formatInstant(endAt) }),
    jitterMs,
    overlap,
    missedRuns,
    ...renderTarget(row),
    ...(row.status === 'active' && row.next_due_at !== null && { nextRunAt: formatInstant(row.next_due_at) }),
    waiting: row.waiting.length,
    ...renderLast(row),
    ...(row.failure !== null && { failure: JSON.parse(row.failure) }),
    createdAt: formatInstant(row.created_at),
    updatedAt: formatInstant(row.updated_at),
  };
}

/** What every route of one schedule answers with it. */
export function answerSchedule<Status extends number>(status: Status, row: ScheduleRow) {
  return { status, headers: { etag: formatETag(row.version) }, body: renderSchedule(row) };
}

function renderTarget(row: ScheduleRow): Pick<Schedule, 'run' | 'timer'> {
  const labels = row.labels && { labels: row.labels };
  if (row.workflow_id !== null) {
    return {
      run: { workflowId: row.workflow_id, ...(row.input !== null && { input: JSON.parse(row.input) }), ...labels },
    };
  }
  return {
    timer: {
      action: maskAction(JSON.parse(row.action!) as Action) as NonNullable<Schedule['timer']>['action'],
      ...(row.payload !== null && { payload: JSON.parse(row.payload) }),
      ...(row.retry !== null && { retry: JSON.parse(row.retry) }),
      ...(row.timeout_ms !== null && { timeoutMs: row.timeout_ms }),
      ...(row.priority !== null && { priority: row.priority }),
      ...labels,
    },
  };
}

function renderLast(row: ScheduleRow): Pick<Schedule, 'lastRun'> {
  const { last_target_id: id, last_begun_at: at, last_occurrence_at: occurrenceAt } = row;
  if (id === null || at === null) return {};
  return {
    lastRun: {
      at: formatInstant(at),
      ...(occurrenceAt !== null && { occurrenceAt: formatInstant(occurrenceAt) }),
      ...(row.workflow_id === null ? { timerId: id } : { runId: id }),
    },
  };
}
