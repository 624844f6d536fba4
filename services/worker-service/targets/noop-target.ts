import type { AttemptResult } from '@punctual/database';
import { RESPONSE_BODY_BYTES_MAX, readResponseText } from './response-text.ts';

/**
 * Does nothing for `durationMs`, and succeeds unless that is longer than `timeoutMs`: for tests and load. What it yields is
 * `output`, JSON text, and shown as an endpoint's answer would be.
 */
export async function performNoop(durationMs: number, timeoutMs: number, output?: string): Promise<AttemptResult> {
  const waitMs = Math.min(durationMs, timeoutMs);
  if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
  if (durationMs > timeoutMs)
    return { outcome: 'timedOut', error: `took longer than ${timeoutMs} ms`, durationMs: waitMs };
  if (output === undefined) return { outcome: 'succeeded', durationMs: waitMs };
  const bytes = Buffer.from(output);
  const shown = bytes.subarray(0, RESPONSE_BODY_BYTES_MAX);
  const responseBody = readResponseText(shown, bytes.length > shown.length);
  return { outcome: 'succeeded', output, responseBody, durationMs: waitMs };
}
