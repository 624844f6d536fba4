import type { Timer } from '../api-client.ts';
import type { Target } from './delivery.ts';
import { type PlannedRule, planRule } from './rules.ts';

/** What a test does to a timer after it has created it. */
export type Role =
  | 'plain'
  /** Long before it is due, or at about that moment. */
  | 'change'
  | 'changeRace'
  | 'cancel'
  | 'cancelRace'
  /** While it waits for its second attempt. */
  | 'changeBetween'
  | 'cancelBetween'
  /** Due in days, and fired. */
  | 'fire'
  /** Due in days or years: only its due time is looked at. */
  | 'far'
  /** Of a year that is past, with `onPast: skip`. */
  | 'skip';

/** A change that was answered with 200. */
export interface AcknowledgedChange {
  /** Attempts that had begun by then: later ones must show the change, these must not. */
  attempt: number;
  version: number;
  revision: number;
  /** Epoch ms. */
  dueAt: number;
}

/** One timer: what was asked for, and every acknowledgement of it. */
export interface BookedTimer {
  n: number;
  role: Role;
  target: Target;
  rule: PlannedRule;
  /** As the creation was answered; the status is that of then. */
  created: Timer;
  changes: AcknowledgedChange[];
  /** Attempts that had begun when its cancel was answered with 200. */
  cancelledAfter?: number;
  /** Codes of refusals, which must have changed nothing. */
  refusals: string[];
}

/** How many timers get each role; all others are plain. */
export type RoleCounts = Partial<Record<Role, number>>;

export interface PlannedTimer {
  n: number;
  role: Role;
  target: Target;
  /** Of the traffic's spread, from 0 to 1: when it is due. */
  place: number;
}

/** Roles whose timers only ever go to one kind of receiver. */
const TARGET_OF_ROLE: Partial<Record<Role, Target>> = { changeBetween: 'flaky', cancelBetween: 'failing' };

/** One in twenty timers goes to the failing receiver, two to the flaky one. */
function chooseTarget(n: number): Target {
  return n % 20 === 7 ? 'failing' : n % 20 === 3 || n % 20 === 13 ? 'flaky' : 'good';
}

/** `total` timers, those of the rarer roles spread evenly over the time. */
export function planTimers(total: number, roles: RoleCounts): PlannedTimer[] {
  const timers: PlannedTimer[] = [];
  const add = (role: Role, count: number) => {
    for (let index = 0; index < count; index += 1) {
      const n = timers.length;
      const place = index / count;
      timers.push({
        n,
        role,
        target: TARGET_OF_ROLE[role] ?? chooseTarget(n),
        place: role === 'cancel' || role === 'change' ? (1 + place) / 2 : place,
      });
    }
  };
  for (const [role, count] of Object.entries(roles)) add(role as Role, count);
  add('plain', total - timers.length);
  return timers;
}

/** Tests wait this long for the second attempt of timers that are changed between two (ms). */
const LONG_BACKOFF_MS = 4_000;
/** Backoff of the others' first retry (ms); each next one takes twice as long. */
export const BACKOFF_MS = 200;
/** Time limit of one attempt, which none of these reaches; with the worker's margin it is how long a killed worker's attempts stay lost (ms). */
export const TIMEOUT_MS = 8_000;

/** The backoff before a timer's second attempt (ms). */
export function readFirstBackoffMs(role: Role): number {
  return role === 'changeBetween' || role === 'cancelBetween' ? LONG_BACKOFF_MS : BACKOFF_MS;
}

/** Some timers have one. */
export function hasExternalId(n: number): boolean {
  return n % 3 !== 0;
}

/** The request that creates a planned timer, and what must come of it. `dueAt`: a whole second, epoch ms. */
export function buildRequest(
  { n, role, target }: PlannedTimer,
  dueAt: number,
  urls: Record<Target, string>,
  far: readonly PlannedRule[],
) {
  const rule = chooseRule(n, role, dueAt, far);
  const request = {
    ...rule.fields,
    action: { type: 'http', url: urls[target] },
    payload: { n, revision: 1 },
    // The number of retries is left to the default.
    retry: { backoff: { initialMs: readFirstBackoffMs(role), factor: 2, jitter: 0 } },
    timeoutMs: TIMEOUT_MS,
    ...(hasExternalId(n) && { externalId: `timer-${n}` }),
    labels: { role },
  };
  return { rule, request };
}

function chooseRule(n: number, role: Role, dueAt: number, far: readonly PlannedRule[]): PlannedRule {
  if (role === 'far' || role === 'fire') return far[n % far.length]!;
  if (role === 'skip') {
    const delay = { type: 'date', year: 2020, month: 2, day: 29, onPast: 'skip' };
    return { name: 'pastDateSkipped', fields: { delay }, expected: { dueAt: Date.UTC(2020, 1, 29) } };
  }
  return planRule(n, dueAt, role === 'plain');
}
