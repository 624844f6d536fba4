/** What a rule would do, shown before it is stored, by the same code that later decides. */
import type { DelayNote, DelayRule } from './delay-rule.ts';
import { computeDueAt } from './due-time.ts';

/** Later due times shown beside the first. */
const NEXT_DUE_TIMES_MAX = 3;

/** Instants are epoch milliseconds. `dueAt`, `local` and `waitMs` are null when the kind is not `due`. */
export type DelayPreview = {
  kind: 'due' | 'skip' | 'reject';
  dueAt: number | null;
  /** ISO local date-time with milliseconds and offset, as people in `timeZone` read it. */
  local: string | null;
  timeZone: string;
  waitMs: number | null;
  notes: DelayNote[];
  next: number[];
};

/**
 * The due time of a rule that `validateDelay` accepted, for a timer that begins to wait at `fromAt` (epoch
 * milliseconds), and up to three later ones: each for a timer that begins to wait one millisecond after the due time
 * before it. `next` ends where such a timer would be skipped or refused. Throws as `computeDueAt` does.
 */
export function previewDelay(
  rule: DelayRule | undefined,
  { fromAt, timeZone }: { fromAt: number; timeZone?: string },
): DelayPreview {
  const first = computeDueAt(rule, { anchorAt: fromAt, timeZone });
  const common = { kind: first.kind, timeZone: first.timeZone, notes: first.notes };
  if (first.kind !== 'due') return { ...common, dueAt: null, local: null, waitMs: null, next: [] };
  const next: number[] = [];
  let anchorAt = first.dueAt + 1;
  while (next.length < NEXT_DUE_TIMES_MAX) {
    const later = computeDueAt(rule, { anchorAt, timeZone });
    if (later.kind !== 'due') break;
    next.push(later.dueAt);
    anchorAt = later.dueAt + 1;
  }
  return {
    ...common,
    dueAt: first.dueAt,
    local: formatLocal(first.dueAt, first.timeZone),
    waitMs: first.dueAt - fromAt,
    next,
  };
}

function formatLocal(at: number, timeZone: string): string {
  return Temporal.Instant.fromEpochMilliseconds(at)
    .toZonedDateTimeISO(timeZone)
    .toString({ timeZoneName: 'never', fractionalSecondDigits: 3 });
}
