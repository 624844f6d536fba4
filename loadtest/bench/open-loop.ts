import { readMonotonicMs } from './clock.ts';
import { percentile } from './percentile.ts';

/** Between two looks at the clock (ms); what is due in between is begun together. */
const TICK_MS = 2;

/** What became of the creates. Times in ms, from when each should have been sent to its answer. */
export interface CreatorResult {
  sent: number;
  created: number;
  refused: number;
  p50: number;
  p99: number;
  max: number;
}

/**
 * Calls `createOne` `rate` times a second for `seconds`, each when its time has come, whatever became of those before;
 * resolves when all have answered. One that rejects or yields false counts as refused.
 */
export async function runOpenLoop(
  rate: number,
  seconds: number,
  createOne: () => Promise<boolean>,
): Promise<CreatorResult> {
  const total = Math.round(rate * seconds);
  const took: number[] = [];
  let created = 0;
  let sent = 0;
  const beganAt = readMonotonicMs();
  const send = async (shouldAt: number): Promise<void> => {
    const isCreated = await createOne().catch(() => false);
    if (isCreated) created += 1;
    took.push(readMonotonicMs() - shouldAt);
  };
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      const shouldHaveSent = Math.min(total, Math.floor(((readMonotonicMs() - beganAt) / 1000) * rate));
      for (; sent < shouldHaveSent; sent += 1) void send(beganAt + (sent / rate) * 1000);
      if (sent === total && took.length === total) {
        clearInterval(timer);
        resolve();
      }
    }, TICK_MS);
  });
  took.sort((a, b) => a - b);
  return {
    sent,
    created,
    refused: sent - created,
    p50: percentile(took, 0.5),
    p99: percentile(took, 0.99),
    max: took.at(-1) ?? Number.NaN,
  };
}
