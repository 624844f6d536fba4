import { type Action, type Fault, sealAction } from '@punctual/domain';
import type { ApiContext } from '../context.ts';
import { findActionFaults } from './action-faults.ts';

/**
 * The JSON text under which an action is stored, its secrets sealed, and what is wrong with it; pointers are relative to it.
 * With `stored`, the action in whose place it comes, a mask keeps the secret that stands there.
 */
export function prepareAction(
  context: Pick<ApiContext, 'egressPolicy' | 'keyring'>,
  tenantId: string,
  action: Action,
  stored?: Action,
): { text: string; faults: readonly Fault[] } {
  const sealed = sealAction(action, { keyring: context.keyring, tenantId, stored });
  const text = JSON.stringify(sealed.action);
  const faults = findActionFaults(action, text, context);
  return { text, faults: sealed.faults.length > 0 ? [...faults, ...sealed.faults] : faults };
}
