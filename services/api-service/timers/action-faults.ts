import { PAYLOAD_BYTES_MAX } from '@punctual/contracts';
import { type Action, type Fault, validateActionHeaders } from '@punctual/domain';
import type { ApiContext } from '../context.ts';

/** What is wrong with an action that its schema let through. Pointers are relative to it. `text` is its JSON. */
export function findActionFaults(action: Action, text: string, context: Pick<ApiContext, 'egressPolicy'>): Fault[] {
  if (action.type === 'noop' || action.type === 'pull') return [];
  const faults: Fault[] = [];
  const check = context.egressPolicy.checkUrl(action.url);
  if (!check.ok) faults.push({ pointer: '/url', detail: check.reason });
  if (action.headers) {
    for (const fault of validateActionHeaders(action.headers)) {
      faults.push({ ...fault, pointer: `/headers${fault.pointer}` });
    }
  }
  // The whole action is a little longer than its body: small ones need no second look.
  if (text.length > PAYLOAD_BYTES_MAX / 4 && action.body !== undefined && isTooLarge(JSON.stringify(action.body))) {
    faults.push({ pointer: '/body', detail: PAYLOAD_TOO_LARGE });
  }
  return faults;
}

/** The sentence for a payload, or a body, that is too large. */
export const PAYLOAD_TOO_LARGE = `It must not be larger than ${PAYLOAD_BYTES_MAX} bytes as JSON.`;

/** Whether JSON text is more than a timer may carry. */
export function isTooLarge(text: string): boolean {
  // A UTF-16 unit takes at most three bytes: most texts need not be measured.
  return text.length * 3 > PAYLOAD_BYTES_MAX && Buffer.byteLength(text) > PAYLOAD_BYTES_MAX;
}
