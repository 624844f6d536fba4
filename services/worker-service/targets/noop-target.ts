import type { AttemptResult } from '../outcome.ts';

/** Does nothing for `durationMs`, and succeeds unless that is longer than `timeoutMs`: for tests and load. */
export async function performNoop(durationMs: number, timeoutMs: number): Promise<AttemptResult> {
  const waitMs = Math.min(durationMs, timeoutMs);
  if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
  if (durationMs > timeoutMs)
    return { outcome: 'timedOut', error: `took longer than ${timeoutMs} ms`, durationMs: waitMs };
  return { outcome: 'succeeded', durationMs: waitMs };
}
