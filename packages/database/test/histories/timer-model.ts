// What the statements must do to one timer, told one after the other, without a database: short enough to be believed.
// Stored instants are epoch ms, as their columns are; the clock counts µs, as Postgres does.

export interface ModelTimer {
  readonly id: string;
  readonly partition: number;
  readonly maxRetries: number;
  readonly timeoutMs: number;
  readonly state: 'scheduled' | 'running' | 'paused' | 'succeeded' | 'dead' | 'cancelled' | 'dismissed';
  readonly version: number;
  /** Counted from 1; those that were lost or postponed do not count. */
  readonly attempt: number;
  readonly lost: number;
  readonly dueAt: number;
  readonly wakeAt: number;
  readonly leaseEndsAt: number | null;
  /** Number of the edit that wrote the payload; 0: the creation. */
  readonly payload: number;
  /** What its last attempt came to, once it has ended by it. */
  readonly outcome: string | null;
  /** How often the audit log names it: for each change that somebody asked for. */
  readonly audited: number;
  /** The attempts before the last, as `number outcome`. */
  readonly attempts: readonly string[];
}

/** What an outcome's margin adds to a time-out, to make a lease (ms). */
export const LEASE_MARGIN_MS = 500;

/** Columns of instants are rounded to the nearest millisecond. */
export function round(us: number): number {
  return Math.floor((us + 500) / 1000);
}

const isWaiting = ({ state }: ModelTimer) => state === 'scheduled' || state === 'paused';
const isStarted = (timer: ModelTimer, version: number) => timer.state === 'running' && timer.version === version;
const hasCome = (instantMs: number, nowUs: number) => instantMs * 1000 <= nowUs;
/** An instant that somebody asked for, but never one that is past. */
const notBefore = (instantMs: number, nowUs: number) => round(Math.max(instantMs * 1000, nowUs));

// Each returns what becomes of the timer; undefined: it is left alone.

export type Change = (timer: ModelTimer, nowUs: number) => ModelTimer | undefined;

export function create(
  fields: Pick<ModelTimer, 'id' | 'partition' | 'maxRetries' | 'timeoutMs' | 'dueAt'>,
  nowUs: number,
): ModelTimer {
  return {
    ...fields,
    state: 'scheduled',
    version: 1,
    attempt: 0,
    lost: 0,
    wakeAt: notBefore(fields.dueAt, nowUs),
    leaseEndsAt: null,
    payload: 0,
    outcome: null,
    audited: 1,
    attempts: [],
  };
}

/** `version` null: whichever it has. */
export function edit(version: number | null, payload: number, dueAt: number | undefined): Change {
  return (timer, nowUs) => {
    if (!isWaiting(timer) || (version !== null && timer.version !== version)) return undefined;
    const changed = { ...timer, version: timer.version + 1, payload, audited: timer.audited + 1 };
    if (dueAt === undefined) return changed;
    // A paused one sleeps on.
    return { ...changed, dueAt, wakeAt: timer.state === 'scheduled' ? notBefore(dueAt, nowUs) : timer.wakeAt };
  };
}

export const fire: Change = (timer, nowUs) =>
  isWaiting(timer)
    ? {
        ...timer,
        version: timer.version + 1,
        audited: timer.audited + 1,
        dueAt: round(Math.min(timer.dueAt * 1000, nowUs)),
        wakeAt: timer.state === 'scheduled' ? round(nowUs) : timer.wakeAt,
      }
    : undefined;

export const cancel: Change = (timer) =>
  isWaiting(timer)
    ? { ...timer, version: timer.version + 1, state: 'cancelled', audited: timer.audited + 1 }
    : undefined;

export const pause: Change = (timer) =>
  timer.state === 'scheduled'
    ? {
        ...timer,
        version: timer.version + 1,
        state: 'paused',
        wakeAt: Number.POSITIVE_INFINITY,
        audited: timer.audited + 1,
      }
    : undefined;

export const resume: Change = (timer, nowUs) =>
  timer.state === 'paused'
    ? {
        ...timer,
        version: timer.version + 1,
        state: 'scheduled',
        wakeAt: notBefore(timer.dueAt, nowUs),
        audited: timer.audited + 1,
      }
    : undefined;

export function start(version: number): Change {
  return (timer, nowUs) =>
    timer.state === 'scheduled' && timer.version === version && hasCome(timer.wakeAt, nowUs)
      ? {
          ...timer,
          state: 'running',
          version: version + 1,
          attempt: timer.attempt + 1,
          lost: 0,
          leaseEndsAt: beginLease(timer, nowUs),
        }
      : undefined;
}

export function restart(version: number): Change {
  return (timer, nowUs) =>
    isStarted(timer, version) && hasCome(timer.leaseEndsAt!, nowUs)
      ? {
          ...timer,
          version: version + 1,
          lost: timer.lost + 1,
          wakeAt: timer.leaseEndsAt!,
          leaseEndsAt: beginLease(timer, nowUs),
          attempts: [...timer.attempts, `${timer.attempt} lost`],
        }
      : undefined;
}

const beginLease = ({ timeoutMs }: ModelTimer, nowUs: number) => round(nowUs + (timeoutMs + LEASE_MARGIN_MS) * 1000);

export function finish(version: number, state: 'succeeded' | 'dead', outcome: string): Change {
  return (timer) => (isStarted(timer, version) ? { ...timer, state, outcome } : undefined);
}

export function retry(version: number, waitMs: number, outcome: string): Change {
  return (timer, nowUs) =>
    isStarted(timer, version)
      ? { ...wait(timer, waitMs, nowUs), attempts: [...timer.attempts, `${timer.attempt} ${outcome}`] }
      : undefined;
}

export function postpone(version: number, waitMs: number): Change {
  return (timer, nowUs) =>
    isStarted(timer, version) ? { ...wait(timer, waitMs, nowUs), attempt: timer.attempt - 1 } : undefined;
}

const wait = (timer: ModelTimer, waitMs: number, nowUs: number): ModelTimer => ({
  ...timer,
  state: 'scheduled',
  version: timer.version + 1,
  lost: 0,
  leaseEndsAt: null,
  wakeAt: round(nowUs + waitMs * 1000),
});

export const redrive: Change = (timer, nowUs) =>
  timer.state === 'dead'
    ? {
        ...timer,
        state: 'scheduled',
        version: timer.version + 1,
        attempt: 0,
        lost: 0,
        leaseEndsAt: null,
        wakeAt: round(nowUs),
        outcome: null,
        attempts: [...timer.attempts, `${timer.attempt} ${timer.outcome}`],
      }
    : undefined;

export const dismiss: Change = (timer) => (timer.state === 'dead' ? { ...timer, state: 'dismissed' } : undefined);

export function isLive({ state }: ModelTimer): boolean {
  return state === 'scheduled' || state === 'running' || state === 'paused';
}

/**
 * Whether a scheduler that reads until `untilMs` from now must be shown the timer: it waits and wakes by then, or its
 * attempt's lease has ended.
 */
export function mustBeRead(timer: ModelTimer, untilMs: number, nowUs: number): boolean {
  const isInReach = hasCome(timer.wakeAt, nowUs + untilMs * 1000);
  if (timer.state === 'running') return isInReach && hasCome(timer.leaseEndsAt!, nowUs);
  return timer.state === 'scheduled' && isInReach;
}

/** What the ledger must say of the timers of one tenant. */
export interface ModelLedger {
  created: number;
  succeeded: number;
  dead: number;
  cancelled: number;
  dismissed: number;
}

/** Enters in the ledger what a committed change did; `before` is undefined for a creation. */
export function book(ledger: ModelLedger, before: ModelTimer | undefined, after: ModelTimer): void {
  if (!before) ledger.created += 1;
  if (after.state === before?.state) return;
  if (after.state === 'succeeded' || after.state === 'dead' || after.state === 'cancelled') ledger[after.state] += 1;
  if (before?.state === 'dead')
    ledger[after.state === 'dismissed' ? 'dismissed' : 'dead'] += after.state === 'dismissed' ? 1 : -1;
}
