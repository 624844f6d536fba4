import { asTenant, describeFlow, FlowReader, giveUpWaiting, type Outcome, type StartedTimer } from '@punctual/database';
import { createLeaseToken, type ExpressionValues, planRun } from '@punctual/domain';
import type { ApiContext } from '../context.ts';
import { giveBackTasks, UNDELIVERED_PAUSE_MS } from './give-back-tasks.ts';
import { writeOutcomes } from './write-outcomes.ts';

type RenderContext = Pick<ApiContext, 'database' | 'workflowVersions' | 'leaseKey' | 'logger' | 'metrics'>;

/**
 * What one answer may hold (characters): a task may carry its payload, its run's input and the outputs of many others. The first task
 * is always in it.
 */
const LEASE_ANSWER_LENGTH_MAX = 8_000_000;

/**
 * Leased tasks as they are answered, with the outputs of the tasks that they waited for. Those that have no room, or of which
 * that can not be read, are given back; one that must not be tried ends dead instead, as a worker of ours would end it.
 */
export async function renderTasks(
  context: RenderContext,
  tenantId: string,
  timers: readonly StartedTimer[],
): Promise<{ texts: string[]; handedOut: StartedTimer[] }> {
  const flows = new FlowReader(asTenant(context.database, tenantId));
  const unfit: Outcome[] = [];
  const unread: StartedTimer[] = [];
  const roomless: StartedTimer[] = [];
  const texts: string[] = [];
  const handedOut: StartedTimer[] = [];
  const found = await Promise.allSettled(timers.map((timer) => readValues(context, tenantId, flows, timer)));
  let length = 0;
  for (const [index, timer] of timers.entries()) {
    const read = found[index]!;
    if (read.status === 'rejected') {
      context.logger.warn({ err: read.reason, timerId: timer.id }, 'a task could not be handed out; it is given back');
      unread.push(timer);
    } else if ('end' in read.value) {
      unfit.push(read.value.end);
    } else if (length >= LEASE_ANSWER_LENGTH_MAX) {
      roomless.push(timer);
    } else {
      const text = renderTask(context.leaseKey, timer, read.value.values);
      length += text.length;
      if (length > LEASE_ANSWER_LENGTH_MAX && texts.length > 0) {
        roomless.push(timer);
        continue;
      }
      texts.push(text);
      handedOut.push(timer);
    }
  }
  giveBackTasks(context, tenantId, unread, UNDELIVERED_PAUSE_MS);
  giveBackTasks(context, tenantId, roomless, 0);
  if (unfit.length > 0) {
    writeOutcomes(context, tenantId, unfit).catch((error: unknown) => {
      context.logger.debug({ err: error }, 'tasks could not be ended; their leases will end');
    });
  }
  return { texts, handedOut };
}

async function readValues(
  { database, workflowVersions, metrics }: RenderContext,
  tenantId: string,
  flows: FlowReader,
  timer: StartedTimer,
): Promise<{ values: ExpressionValues | undefined } | { end: Outcome }> {
  if (timer.workflow_id === null) return { values: undefined };
  const { hot } = asTenant(database, tenantId);
  const version = await workflowVersions.read(hot, timer.workflow_id, timer.workflow_version!);
  const end = giveUpWaiting(timer, version);
  if (end) {
    metrics.signalsTimedOut.inc();
    return { end };
  }
  const index = planRun(version.tasks).indexByKey.get(timer.task_key!);
  const flow = index === undefined ? undefined : describeFlow(version, index, undefined, true);
  if (!flow) return { values: undefined };
  const barred = await flows.findEnd(timer, version, flow);
  if (barred) return { end: barred };
  return { values: flow.needs && (await flows.read(timer, version, flow)) };
}

// Made of the texts that were stored.
function renderTask(leaseKey: Buffer, timer: StartedTimer, values: ExpressionValues | undefined): string {
  const { id, attempt, version, signal, input } = timer;
  const payload = timer.payload ?? signal;
  const isLate = timer.waits_for === null ? '' : ',"timedOut":true';
  const token = createLeaseToken(leaseKey, timer.tenant_id, id, {
    version,
    attempt,
    startedAt: timer.started_at,
    wakeAt: timer.wake_at,
    runId: timer.run_id,
  });
  const runId = timer.run_id === null ? 'null' : `"${timer.run_id}"`;
  const taskKey = timer.task_key === null ? 'null' : JSON.stringify(timer.task_key);
  const inputs = JSON.stringify(values?.inputs ?? {});
  const ofElement =
    values?.index === undefined ? '' : `,"item":${JSON.stringify(values.item ?? null)},"index":${values.index}`;
  return `{"id":"${id}","leaseToken":"${token}","runId":${runId},"taskKey":${taskKey},"attempt":${attempt},"payload":${payload ?? 'null'},"input":${input ?? 'null'},"inputs":${inputs}${ofElement}${isLate}}`;
}
