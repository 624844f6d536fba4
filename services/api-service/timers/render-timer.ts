import type { NewTimer, ShownAttempt, TimerRecord, WorkflowVersion } from '@punctual/database';
import { formatInstant, maskActionText, parsePath } from '@punctual/domain';

/** What a timer is shown by. A new one has no more than this. */
type ShownTimer = NewTimer & Partial<Omit<TimerRecord, keyof NewTimer>>;

/** The JSON text of a timer that was just stored. It is made of the texts that were stored, but for secrets: nothing is rendered twice. */
export function renderNewTimer(timer: NewTimer): string {
  return render(timer);
}

/**
 * The JSON text of a timer. A task of a run shows the action and retry of its workflow `version`, unless they were
 * changed for this timer. An action of the version that is larger than `actionBytesMax` is left out.
 */
export function renderTimer(record: TimerRecord, version: WorkflowVersion | undefined, actionBytesMax: number): string {
  if (record.taskKey === null || version === undefined) return render(record);
  const task = version.tasks.find(({ key }) => key === record.taskKey);
  if (task === undefined) return render(record);
  const isOwnAction = record.action !== null || record.isActionOmitted === true;
  const action = isOwnAction ? record.action : JSON.stringify(task.action);
  const isActionOmitted = record.isActionOmitted === true || (action !== null && action.length > actionBytesMax);
  return render({
    ...record,
    timeZone: record.timeZone ?? version.timeZone,
    action: isActionOmitted ? null : action,
    isActionOmitted,
    retry: record.retry ?? (task.retry === undefined ? null : JSON.stringify(task.retry)),
  });
}

function render(timer: Omit<ShownTimer, 'tenantId' | 'partition'>): string {
  const { state = 'scheduled', version = 1, attempt = 0, wakeAt, finishedAt } = timer;
  // What a status, an id and an instant are made of needs no escapes.
  let text = `{"id":"${timer.id}","status":"${state}","version":${version},"dueAt":"${formatInstant(timer.dueAt)}","attempt":${attempt}`;
  if (timer.runId) text += `,"runId":"${timer.runId}"`;
  if (timer.workflowId) text += `,"workflowId":"${timer.workflowId}"`;
  if (timer.taskKey) text += `,"taskKey":${JSON.stringify(timer.taskKey)}`;
  if (timer.path) text += `,"path":${JSON.stringify(parsePath(timer.path))}`;
  text += `,"createdAt":"${formatInstant(timer.createdAt)}"`;
  if (finishedAt != null) text += `,"finishedAt":"${formatInstant(finishedAt)}"`;
  // An attempt was made and the next is waited for: that is a retry, and its time is not the due time.
  if (state === 'scheduled' && attempt > 0 && wakeAt != null && Number.isFinite(wakeAt)) {
    text += `,"nextAttemptAt":"${formatInstant(wakeAt)}"`;
  }
  if (timer.waitsFor !== null) text += `,"waitsFor":${JSON.stringify(timer.waitsFor)}`;
  if (timer.delay !== null) text += `,"delay":${timer.delay}`;
  if (timer.timeZone !== null) text += `,"timeZone":"${timer.timeZone}"`;
  if (timer.action !== null) text += `,"action":${maskActionText(timer.action)}`;
  if (timer.payload !== null) text += `,"payload":${timer.payload}`;
  if (timer.retry !== null) text += `,"retry":${timer.retry}`;
  if (timer.concurrency != null) text += `,"concurrency":${timer.concurrency}`;
  if (timer.priority != null) text += `,"priority":${timer.priority}`;
  if (timer.timeoutMs !== null) text += `,"timeoutMs":${timer.timeoutMs}`;
  if (timer.externalId !== null) text += `,"externalId":${JSON.stringify(timer.externalId)}`;
  if (timer.labels !== null) text += `,"labels":${timer.labels}`;
  const omitted = [...(timer.isActionOmitted ? ['action'] : []), ...(timer.isPayloadOmitted ? ['payload'] : [])];
  if (omitted.length > 0) text += `,"omitted":${JSON.stringify(omitted)}`;
  return `${text}}`;
}

/** An attempt as it is answered. */
export function toAttempt(attempt: ShownAttempt) {
  return {
    attempt: attempt.attempt,
    startedAt: formatInstant(attempt.startedAt),
    finishedAt: formatInstant(attempt.finishedAt),
    ...(attempt.latenessMs !== null && { latenessMs: attempt.latenessMs }),
    ...(attempt.durationMs !== null && { durationMs: attempt.durationMs }),
    outcome: attempt.outcome,
    ...(attempt.httpStatus !== null && { httpStatus: attempt.httpStatus }),
    ...(attempt.error !== null && { error: attempt.error }),
    ...(attempt.responseBody !== null && { responseBody: attempt.responseBody }),
  };
}
