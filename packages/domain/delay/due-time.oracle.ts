/**
 * A second implementation of the due time of `weekday` and `date` rules, for tests only.
 *
 * It shares nothing with the engine: zone offsets are read through luxon, calendar days are luxon's, and instants come
 * from a table of the stretches between two clock changes instead of from Temporal's disambiguation. It searches wide
 * and takes the minimum where the engine walks and stops.
 */
import { DateTime, IANAZone } from 'luxon';
import type { DateDelay, DelayNote, WeekdayDelay } from './delay-rule.ts';
import { WEEKDAYS } from './delay-rule.ts';
import type { DueTime } from './due-time.ts';

const DAY_MS = 86_400_000;

/** Two clock changes that undo each other must not both fall between two samples; a week apart is the record (Brazil, 2000). */
const SAMPLE_STEP_MS = 6 * DAY_MS;

/** Clocks change on whole seconds. */
const FINEST_STEP_MS = 1_000;

/** A stretch of time with one offset: `fromAt` included, `untilAt` not. `offsetMs` is local minus UTC. */
export type Stretch = { fromAt: number; untilAt: number; offsetMs: number };

/** The stretches of `timeZone` between two instants, by sampling luxon's offsets and halving towards each change. */
export function readStretches(timeZone: string, fromAt: number, untilAt: number): Stretch[] {
  const zone = IANAZone.create(timeZone);
  const readOffset = (at: number) => Math.round(zone.offset(at) * 60_000);
  const stretches: Stretch[] = [];
  let stretch: Stretch = { fromAt, untilAt, offsetMs: readOffset(fromAt) };
  let sampledAt = fromAt;
  while (sampledAt < untilAt) {
    let before = sampledAt;
    let after = Math.min(sampledAt + SAMPLE_STEP_MS, untilAt);
    sampledAt = after;
    if (readOffset(after) === stretch.offsetMs) continue;
    while (after - before > FINEST_STEP_MS) {
      const middle = before + Math.floor((after - before) / 2 / FINEST_STEP_MS) * FINEST_STEP_MS;
      if (readOffset(middle) === stretch.offsetMs) before = middle;
      else after = middle;
    }
    stretches.push({ ...stretch, untilAt: after });
    stretch = { fromAt: after, untilAt, offsetMs: readOffset(after) };
    sampledAt = after;
  }
  stretches.push(stretch);
  return stretches;
}

/** What the engine must answer for a rule in the zone whose stretches these are. */
export function expectDueTime(
  rule: WeekdayDelay | DateDelay,
  anchorAt: number,
  timeZone: string,
  stretches: readonly Stretch[],
): DueTime {
  // Far more than a search needs: weeks for a weekday, years for a date, more where only leap years count.
  const isLeapSearch = rule.type === 'date' && rule.month === 2 && rule.day === 29;
  const reach = (rule.type === 'weekday' ? 60 : (isLeapSearch ? 9 : 3) * 366) * DAY_MS;
  const near = stretches.filter((each) => each.untilAt > anchorAt - reach && each.fromAt < anchorAt + reach);
  return rule.type === 'weekday'
    ? expectWeekday(rule, anchorAt, timeZone, near)
    : expectDate(rule, anchorAt, timeZone, near);
}

type Moment = { at: number; notes: DelayNote[] };

function expectWeekday(rule: WeekdayDelay, anchorAt: number, timeZone: string, stretches: readonly Stretch[]): DueTime {
  const today = readLocalDay(anchorAt, stretches);
  const isWanted = (day: number) => rule.days.includes(WEEKDAYS[(((day + 3) % 7) + 7) % 7]!);
  if (rule.at === undefined && isWanted(today)) return { kind: 'due', dueAt: anchorAt, timeZone, notes: [] };
  const moments: Moment[] = [];
  for (let day = rule.at === undefined ? today + 1 : today - 3; day < today + 24; day += 1) {
    if (!isWanted(day) || listPieces(day, stretches).length === 0) continue;
    moments.push(...listMoments(day, rule.at, stretches));
  }
  const first = findFirst(moments, anchorAt);
  return { kind: 'due', dueAt: first!.at, timeZone, notes: first!.notes };
}

function expectDate(rule: DateDelay, anchorAt: number, timeZone: string, stretches: readonly Stretch[]): DueTime {
  const todayYear = DateTime.fromMillis(readLocalDay(anchorAt, stretches) * DAY_MS, { zone: 'utc' }).year;
  const reachYears = rule.month === 2 && rule.day === 29 ? 8 : 1;
  const years =
    rule.year === undefined ? Array.from({ length: reachYears + 2 }, (_, index) => todayYear - 1 + index) : [rule.year];
  const moments = years.flatMap((year) => listMomentsOfYear(rule, year, anchorAt, stretches));
  const first = findFirst(moments, anchorAt);
  if (first !== undefined) return { kind: 'due', dueAt: first.at, timeZone, notes: first.notes };
  const missed = moments[0];
  if (missed === undefined) return { kind: 'skip', missedAt: null, timeZone, notes: ['leapDay'] };
  const notes: DelayNote[] = missed.notes.filter((note) => note === 'leapDay');
  notes.push('past');
  if (rule.onPast === 'skip' || rule.onPast === 'reject') {
    return { kind: rule.onPast, missedAt: missed.at, timeZone, notes };
  }
  return { kind: 'due', dueAt: anchorAt, timeZone, notes };
}

function listMomentsOfYear(rule: DateDelay, year: number, anchorAt: number, stretches: readonly Stretch[]): Moment[] {
  let date = DateTime.utc(year, rule.month, rule.day);
  const notes: DelayNote[] = [];
  if (!date.isValid) {
    if (rule.leapDay === 'skip') return [];
    date = rule.leapDay === 'mar1' ? DateTime.utc(year, 3, 1) : DateTime.utc(year, 2, 28);
    notes.push('leapDay');
  }
  let day = date.toMillis() / DAY_MS;
  if (rule.at === undefined) {
    while (listPieces(day, stretches).length === 0) {
      day += 1;
      if (!notes.includes('gap')) notes.push('gap');
    }
    if (day === readLocalDay(anchorAt, stretches)) return [{ at: anchorAt, notes }];
  }
  const moments = listMoments(day, rule.at, stretches).map((moment) => ({
    at: moment.at,
    notes: [...new Set([...notes, ...moment.notes])],
  }));
  // A day that was yesterday stays over, even where the clocks are about to go back into it.
  const isOver = rule.at === undefined && day < readLocalDay(anchorAt, stretches);
  return isOver ? moments.slice(0, 1) : moments;
}

/** With `at` the one instant meant; without, each beginning of the day. */
function listMoments(day: number, at: string | undefined, stretches: readonly Stretch[]): Moment[] {
  if (at === undefined) {
    const midnights = listInstants(day * DAY_MS, stretches).length;
    const notes: DelayNote[] = midnights === 0 ? ['gap'] : midnights > 1 ? ['overlap'] : [];
    return listPieces(day, stretches).map((piece) => ({ at: piece, notes }));
  }
  const [hours = 0, minutes = 0, seconds = 0] = at.split(':').map(Number);
  const local = day * DAY_MS + ((hours * 60 + minutes) * 60 + seconds) * 1_000;
  const instants = listInstants(local, stretches);
  if (instants[0] !== undefined) return [{ at: instants[0], notes: instants.length > 1 ? ['overlap'] : [] }];
  for (const [index, before] of stretches.entries()) {
    const after = stretches[index + 1];
    if (after === undefined) break;
    const hasGapHere = before.untilAt + before.offsetMs <= local && local < after.fromAt + after.offsetMs;
    if (hasGapHere) return [{ at: local - before.offsetMs, notes: ['gap'] }];
  }
  throw new Error(`No stretch holds local time ${local}: the table is too short.`);
}

/** Every instant at which clocks show `local` (milliseconds as if it were UTC), in order. */
function listInstants(local: number, stretches: readonly Stretch[]): number[] {
  return stretches
    .filter(({ fromAt, untilAt, offsetMs }) => fromAt <= local - offsetMs && local - offsetMs < untilAt)
    .map(({ offsetMs }) => local - offsetMs);
}

/** The instants at which the calendar turns to `day` (days since the epoch), in order. */
function listPieces(day: number, stretches: readonly Stretch[]): number[] {
  const starts: number[] = [];
  let endedAt = Number.NaN;
  for (const { fromAt, untilAt, offsetMs } of stretches) {
    const start = Math.max(fromAt, day * DAY_MS - offsetMs);
    const end = Math.min(untilAt, (day + 1) * DAY_MS - offsetMs);
    if (start >= end) continue;
    // A clock change within the day does not begin it anew.
    if (start !== endedAt) starts.push(start);
    endedAt = end;
  }
  return starts;
}

function readLocalDay(at: number, stretches: readonly Stretch[]): number {
  const stretch = stretches.find(({ fromAt, untilAt }) => fromAt <= at && at < untilAt);
  if (stretch === undefined) throw new Error(`No stretch holds instant ${at}: the table is too short.`);
  return Math.floor((at + stretch.offsetMs) / DAY_MS);
}

function findFirst(moments: readonly Moment[], anchorAt: number): Moment | undefined {
  return moments.filter(({ at }) => at >= anchorAt).toSorted((one, other) => one.at - other.at)[0];
}
