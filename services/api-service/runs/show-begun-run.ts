import type { Run } from '@punctual/contracts';
import type { BegunRun, NewTimer, RunTimer, WorkflowVersion } from '@punctual/database';
import { renderRun } from './render-run.ts';

/** What a run that is about to be stored looks like then. */
export function showBegunRun({ run, timers, skipped, dead }: BegunRun, version: WorkflowVersion): Run {
  const { status, createdAt } = run;
  const isLive = status === 'running' || status === 'paused';
  return renderRun(
    {
      id: run.id,
      tenant_id: run.tenantId,
      workflow_id: run.workflowId,
      workflow_version: run.workflowVersion,
      partition: run.partition,
      status,
      task_states: run.taskStates,
      input: run.input,
      external_id: run.externalId,
      labels: run.labels === null ? null : JSON.parse(run.labels),
      created_at: createdAt,
      finished_at: isLive ? null : createdAt,
      paused_at: status === 'paused' ? createdAt : null,
    },
    [
      ...timers.map((timer) => showTimer(timer, status === 'paused' ? 'paused' : 'scheduled')),
      ...skipped.map((timer) => showTimer(timer, 'skipped')),
      ...dead.map((timer) => showTimer(timer, 'dead')),
    ],
    version,
  );
}

function showTimer(timer: NewTimer, state: 'scheduled' | 'paused' | 'skipped' | 'dead'): RunTimer {
  const { id, dueAt, waitsFor, createdAt } = timer;
  return {
    id,
    taskKey: timer.taskKey!,
    path: timer.path ?? null,
    state,
    dueAt,
    waitsFor: state === 'scheduled' || state === 'paused' ? waitsFor : null,
    attempt: state === 'dead' ? 1 : 0,
    startedAt: null,
    finishedAt: state === 'scheduled' || state === 'paused' ? null : createdAt,
    responseBody: null,
    output: null,
  };
}
