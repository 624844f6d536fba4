import type { TimerRequest } from '@punctual/contracts';
import type { ChangeOrigin, RequestedTimer } from '@punctual/database';
import { type Action, choosePartition, createId, type DelayRule, type Fault, toStoredPriority } from '@punctual/domain';
import type { ApiContext } from '../context.ts';
import { isTooLarge, PAYLOAD_TOO_LARGE } from './action-faults.ts';
import { checkTimeZone, chooseDueTime } from './due-time.ts';
import { prepareAction } from './stored-action.ts';

/** A request made ready to be stored, or what is wrong with it (pointers into the request). */
export type PreparedTimer =
  | { timer: RequestedTimer; isSkipped: boolean; faults?: undefined }
  | { faults: readonly Fault[] };

/**
 * Turns a request that its schema let through into a new timer that begins to wait at `anchorAt` (epoch ms). What is
 * JSON is rendered here once, for the database and the answer alike.
 */
export function prepareTimer(
  context: Pick<ApiContext, 'egressPolicy' | 'keyring' | 'maxWaitMs' | 'partitionCount'>,
  tenantId: string,
  request: TimerRequest,
  anchorAt: number,
  origin: ChangeOrigin,
): PreparedTimer {
  const zone = checkTimeZone(request.timeZone);
  if ('fault' in zone) return { faults: [zone.fault] };
  const due = chooseDueTime(
    { delay: request.delay as DelayRule | undefined, dueAt: request.dueAt, timeZone: zone.timeZone },
    anchorAt,
    context,
  );
  if (due.kind === 'fault') return { faults: due.faults };
  const { text: action, faults } = prepareAction(context, tenantId, request.action as Action);
  if (faults.length > 0) return { faults: faults.map((fault) => ({ ...fault, pointer: `/action${fault.pointer}` })) };
  const payload = request.payload === undefined ? null : JSON.stringify(request.payload);
  if (payload !== null && isTooLarge(payload)) return { faults: [{ pointer: '/payload', detail: PAYLOAD_TOO_LARGE }] };
  const id = createId();
  return {
    isSkipped: due.kind === 'skip',
    timer: {
      id,
      tenantId,
      partition: choosePartition(id, context.partitionCount),
      dueAt: due.dueAt,
      createdAt: anchorAt,
      runId: null,
      workflowId: null,
      workflowVersion: null,
      taskKey: null,
      timeZone: zone.timeZone ?? null,
      delay: request.delay === undefined ? null : JSON.stringify(request.delay),
      action,
      payload,
      retry: request.retry === undefined ? null : JSON.stringify(request.retry),
      timeoutMs: request.timeoutMs ?? null,
      externalId: request.externalId ?? null,
      labels: request.labels === undefined ? null : JSON.stringify(request.labels),
      pullQueue: request.action.type === 'pull' ? request.action.queue : null,
      concurrency: request.concurrency === undefined ? null : JSON.stringify(request.concurrency),
      priority: toStoredPriority(request.priority),
      waitsFor: null,
      origin,
    },
  };
}
