import { type RunningStack, type StackOptions, startStack } from '@punctual/local-servers';
import type { BACKENDS } from '@punctual/testkit';

/** For its start, and for its end: on a machine that does much else (ms). */
export const STACK_LIMIT_MS = 120_000;

/** The services on servers of a test's own, with their queue on a kind of backend. They leave nothing behind. */
export function startTestStack(
  queue: (typeof BACKENDS)[number],
  options: Omit<StackOptions, 'redisUrl' | 'ephemeral' | 'log'>,
): Promise<RunningStack> {
  return startStack({ ...options, ...(queue === 'postgres' && { redisUrl: null }), ephemeral: true, log: () => {} });
}
