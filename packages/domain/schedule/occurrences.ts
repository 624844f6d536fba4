/**
 * When a schedule occurs: the arithmetic behind every recurring rule, with no clock of its own.
 *
 * An occurrence is an instant that the rule names; it is due then, or later by the schedule's jitter, which is the same
 * whenever it is reckoned. Occurrences come in order, and so do their due times.
 */
import { createHash } from 'node:crypto';
import type { Cron } from 'croner';
import { DURATION_UNIT_MS } from '../delay/delay-rule.ts';
import { computeDueAt } from '../delay/due-time.ts';
import { namesEveryHour, parseCron, type ScheduleRule, toDelayRule } from './schedule-rule.ts';

/** All that says when a schedule occurs. Instants in epoch ms. */
export interface ScheduleTimes {
  rule: ScheduleRule;
  /** For rules that name none; IANA spelling. */
  timeZone: string;
  /** The first instant at which it may occur, and the first at which it may no more. */
  startAt: number | null;
  endAt: number | null;
  jitterMs: number;
  /** Since when an interval is counted when there is no start. */
  anchorAt: number;
  /** By which the jitter of one schedule differs from another's: its id. */
  seed: string;
}

export interface Occurrence {
  at: number;
  /** When it is to begin: `at`, or later by the jitter, but before the next occurrence. */
  dueAt: number;
}

export interface Occurrences {
  /** The first after that instant. */
  next(afterAt: number): Occurrence | undefined;
  /** The last after `afterAt` that is due by `untilAt`. */
  last(afterAt: number, untilAt: number): Occurrence | undefined;
}

/** The occurrences of a rule that `validateScheduleRule` accepted. */
export function createOccurrences(times: ScheduleTimes): Occurrences {
  const findAt = createFinder(times);
  const { startAt, endAt, jitterMs, seed } = times;
  const nextAt = (afterAt: number) => {
    const at = findAt(startAt === null ? afterAt : Math.max(afterAt, startAt - 1));
    return at === undefined || (endAt !== null && at >= endAt) ? undefined : at;
  };
  const next = (afterAt: number): Occurrence | undefined => {
    const at = nextAt(afterAt);
    if (at === undefined || jitterMs === 0) return at === undefined ? undefined : { at, dueAt: at };
    const following = nextAt(at);
    const room = following === undefined ? jitterMs : Math.min(jitterMs, following - at);
    return { at, dueAt: at + Math.floor(chooseFraction(seed, at) * room) };
  };
  return {
    next,
    last(afterAt, untilAt) {
      let found = next(afterAt);
      if (!found || found.dueAt > untilAt) return undefined;
      // By halves: an outage may have passed over any number of them.
      let low = found.at;
      let high = untilAt;
      while (low < high) {
        const middle = low + Math.floor((high - low) / 2);
        const candidate = next(middle);
        if (candidate && candidate.dueAt <= untilAt) {
          found = candidate;
          low = candidate.at;
        } else high = middle;
      }
      return found;
    },
  };
}

/** A number in [0, 1) that is always the same for one occurrence of one schedule. */
function chooseFraction(seed: string, at: number): number {
  return createHash('sha256').update(`${seed} ${at}`).digest().readUIntBE(0, 6) / 2 ** 48;
}

/** The first instant of the rule after another one. */
function createFinder({ rule, timeZone, startAt, anchorAt }: ScheduleTimes): (afterAt: number) => number | undefined {
  switch (rule.type) {
    case 'interval': {
      const everyMs = rule.value * DURATION_UNIT_MS[rule.unit];
      // With a start it occurs there first, without one when the first interval has passed.
      const base = startAt ?? anchorAt;
      const first = startAt === null ? 1 : 0;
      return (afterAt) => base + Math.max(first, Math.floor((afterAt - base) / everyMs) + 1) * everyMs;
    }
    case 'weekday':
    case 'date': {
      const delay = toDelayRule(rule);
      return (afterAt) => {
        const due = computeDueAt(delay, { anchorAt: afterAt + 1, timeZone });
        return due.kind === 'due' ? due.dueAt : undefined;
      };
    }
    case 'cron': {
      const cron = parseCron(rule.expression);
      const zone = rule.timeZone ?? timeZone;
      const isElapsing = namesEveryHour(rule.expression);
      return (afterAt) => findCron(cron, isElapsing, afterAt, zone);
    }
  }
}

/** Clocks change by no more than this at once, that of a zone that changes to the other side of the date line included (ms). */
const SHIFT_MS_MAX = 25 * 3_600_000;
const DAY_MS = 24 * 3_600_000;
/** Stretches between two clock changes that are looked at: that of the start, and those about the time that was found. */
const STRETCHES_MAX = 8;

/**
 * The first instant after `afterAt` whose local time an expression names.
 *
 * The local times that it names are read off a clock that never changes, and put into the stretches between two changes of the
 * zone's clock. An expression that names all hours means all instants that show such a time: both passes of a repeated hour,
 * none of a missing one. Any other means each local time once: a repeated one the first time, a missing one moved
 * forward by the gap, unless the gap is that of a whole day.
 */
function findCron(cron: Cron, isElapsing: boolean, afterAt: number, timeZone: string): number | undefined {
  // Whole milliseconds; `from` itself counts.
  let from = afterAt + 1;
  for (let stretch = 0; stretch < STRETCHES_MAX; stretch += 1) {
    const here = readZoned(from, timeZone);
    const offset = here.offsetNanoseconds / 1e6;
    const endsAt = here.getTimeZoneTransition('next')?.epochMilliseconds ?? Number.POSITIVE_INFINITY;
    const began = readBeginning(from, offset, timeZone);
    const shift = began ? offset - began.offsetBefore : 0;
    // What an hour that is repeated would show has been.
    const regularFrom = began && shift < 0 && !isElapsing ? Math.max(from, began.at - shift) : from;
    let found = nextLocal(cron, regularFrom + offset, offset);
    if (began && shift > 0 && shift < DAY_MS && !isElapsing && from < began.at + shift) {
      const moved = nextLocal(cron, from + began.offsetBefore, began.offsetBefore);
      if (moved !== undefined && moved < began.at + shift && (found === undefined || moved < found)) found = moved;
    }
    if (found === undefined) return undefined;
    if (found < endsAt) return found;
    // A change soon after may repeat what was named before; one between that and the time found repeats and leaves out nothing
    // that is named, as nothing is.
    from = endsAt - from <= SHIFT_MS_MAX ? endsAt : Math.max(endsAt, found - SHIFT_MS_MAX);
  }
  throw new Error('the clocks of a zone change too often');
}

/** The clock change that began the stretch in which `at` lies, when it was so shortly before that it matters. */
function readBeginning(at: number, offset: number, timeZone: string): { at: number; offsetBefore: number } | undefined {
  const before = readZoned(at - SHIFT_MS_MAX, timeZone);
  if (before.offsetNanoseconds / 1e6 === offset) return undefined;
  // The one before the next millisecond may be at this very one.
  const change = readZoned(at + 1, timeZone).getTimeZoneTransition('previous');
  if (!change) return undefined;
  const offsetBefore = readZoned(change.epochMilliseconds - 1, timeZone).offsetNanoseconds / 1e6;
  return { at: change.epochMilliseconds, offsetBefore };
}

function readZoned(at: number, timeZone: string): Temporal.ZonedDateTime {
  return Temporal.Instant.fromEpochMilliseconds(at).toZonedDateTimeISO(timeZone);
}

/** The instant of the first named local time that is not before `local` (ms as if it were UTC), on a clock with that offset. */
function nextLocal(cron: Cron, local: number, offset: number): number | undefined {
  // It looks for whole seconds after the one given.
  const found = cron.nextRun(new Date(Math.ceil(local / 1_000) * 1_000 - 1_000));
  return found ? found.getTime() - offset : undefined;
}
