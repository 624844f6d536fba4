import type { RunBatchItem } from '@punctual/contracts';
import type { ChangeOrigin, RunOrder } from '@punctual/database';
import type { Fault } from '@punctual/domain';
import { isTooLarge, PAYLOAD_TOO_LARGE } from '../timers/action-faults.ts';

/** Turns a request, or an item of a batch, into an order; or says what is wrong with it. */
export function prepareRunOrder(
  tenantId: string,
  workflowId: string,
  { input, externalId, labels, paused }: RunBatchItem,
  origin: ChangeOrigin,
): { order: RunOrder } | { fault: Fault } {
  const text = input === undefined ? null : JSON.stringify(input);
  if (text !== null && isTooLarge(text)) return { fault: { pointer: '/input', detail: PAYLOAD_TOO_LARGE } };
  return {
    order: {
      tenantId,
      workflowId,
      input: text,
      externalId: externalId ?? null,
      labels: labels ? JSON.stringify(labels) : null,
      isPaused: paused === true,
      origin,
    },
  };
}
