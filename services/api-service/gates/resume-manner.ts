import { RELEASE_RATE_DEFAULT } from '@punctual/contracts';
import type { DueTimes, ResumeManner } from '@punctual/database';

/** How somebody wants timers to come back. */
interface ResumeBody {
  dueTimes?: DueTimes;
  ratePerSecond?: number;
}

/** The same with defaults. */
export function readManner(body: ResumeBody | null | undefined): ResumeManner & { ratePerSecond: number } {
  const ratePerSecond = body?.ratePerSecond ?? RELEASE_RATE_DEFAULT;
  return { dueTimes: body?.dueTimes ?? 'keep', ratePerSecond, paceMs: 1000 / ratePerSecond };
}
