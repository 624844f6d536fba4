/** Bounds of what `suggestPostponeMs` says (ms). Below, the timer is back before a slot is; above, it may be far too late. */
export const POSTPONE_MIN_MS = 100;
export const POSTPONE_MAX_MS = 30_000;
/** How long an attempt is taken to hold its slot before any has ended (ms). */
export const HOLD_ASSUMED_MS = 100;
/** A queue that is worked off within this time is no reason to start nothing: about as long as a start takes (ms). */
const AHEAD_MS = 15;
/** Origins without attempts whose pace is remembered, those of late. */
export const PACES_REMEMBERED_MAX = 1_024;
/** Within its brief wait an origin's pace may change; a waiter beyond the short queue stays for so many times that long. */
const BRIEF_WAITS = 3;
/** Weight of the newest attempt in the average time that slots are held. About the last ten count. */
const NEWEST_WEIGHT = 0.2;

export interface OriginGateOptions {
  /** Attempts to one origin that may be under way at the same time. */
  maxInFlightPerOrigin: number;
  /** Attempts to one origin that may wait for a slot in memory, however long its queue takes. */
  maxWaitingPerOrigin: number;
  /** More may wait as long as the origin's pace lets them in within this time (ms): a trip to the database takes longer. */
  briefMs: number;
  /** How long one waits at most (ms). Bound it by the lease of a start, which goes on while the attempt waits. */
  waitMaxMs: number;
  /** Milliseconds of a clock that never goes back. */
  now?: () => number;
}

export interface OriginGate {
  /**
   * Asks for a slot. `entered` must be followed by exactly one `leave`. `full` means that nothing was taken and that
   * the timer should be postponed by `suggestPostponeMs`, not counted as an attempt. A promise means that it waits, in
   * order of arrival, for at most `waitMaxMs`, or a few times `briefMs` beyond the short queue.
   */
  enter(origin: string): 'entered' | 'full' | Promise<'entered' | 'full'>;
  /** Gives a slot back; `heldMs` is how long it was held, undefined when nothing was sent, which tells nothing of the pace. */
  leave(origin: string, heldMs: number | undefined): void;
  /**
   * How long to postpone a timer of an origin that is full (ms, POSTPONE_MIN_MS to POSTPONE_MAX_MS). Each call gets the
   * next place in a queue that moves at the origin's own pace, so that postponed timers come back one after another
   * and not all at once. Beyond POSTPONE_MAX_MS the places start over.
   */
  suggestPostponeMs(origin: string): number;
  /**
   * Whether some origin has attempts waiting that at its present pace will all have got in within `briefMs`, but not just
   * now. Then it is better to wait a moment than to start more timers; an origin that takes longer is no reason to hold
   * back others.
   */
  isBrieflyFull(): boolean;
  /** Answers everyone who waits, and everyone to come, with `full`: for draining. Slots held are still to be left. */
  close(): void;
  /** Origins with an attempt under way. Of all others no more than a pace is kept. */
  readonly originCount: number;
}

interface Waiter {
  answer(answer: 'entered' | 'full'): void;
  timer: NodeJS.Timeout;
}

interface Origin {
  inFlight: number;
  waiting: Set<Waiter>;
  /** Average time that a slot is held (ms), undefined until one was left. */
  holdMs: number | undefined;
  /** When a slot was last left, or the first one taken. */
  lastLeftAt: number;
  /** When the place after the one given out last comes up. */
  nextPlaceAt: number;
}

/**
 * Keeps one slow host from occupying the worker: each origin has its own slots and its own short queue, and what
 * exceeds them goes back to the database. Of an origin without attempts under way it remembers the pace, if it was quick, until many others have come by.
 */
export function createOriginGate(options: OriginGateOptions): OriginGate {
  const { maxInFlightPerOrigin, maxWaitingPerOrigin, briefMs, waitMaxMs, now = () => performance.now() } = options;
  const origins = new Map<string, Origin>();
  /** How long the origins that had attempts a while ago held their slots (ms), the longest forgotten first. */
  const pastHoldMs = new Map<string, number>();
  let isClosed = false;

  const wait = (origin: Origin, limitMs: number): Promise<'entered' | 'full'> =>
    new Promise((resolve) => {
      const waiter: Waiter = {
        answer: (answer) => {
          clearTimeout(waiter.timer);
          origin.waiting.delete(waiter);
          resolve(answer);
        },
        timer: setTimeout(() => waiter.answer('full'), limitMs),
      };
      origin.waiting.add(waiter);
    });

  // Who was slow once may be quick by now, and a burst would be put off by that before it could show.
  const recall = (name: string): number | undefined => {
    const holdMs = pastHoldMs.get(name);
    pastHoldMs.delete(name);
    return holdMs === undefined ? undefined : Math.min(holdMs, HOLD_ASSUMED_MS);
  };

  const forget = (name: string, holdMs: number | undefined): void => {
    origins.delete(name);
    if (holdMs === undefined) return;
    if (pastHoldMs.size >= PACES_REMEMBERED_MAX) pastHoldMs.delete(pastHoldMs.keys().next().value!);
    pastHoldMs.set(name, holdMs);
  };

  /** The pace of the origin: how long until one more slot comes free (ms). */
  const computePaceMs = (origin: Origin): number => {
    // An origin that hangs ends no attempts, so its average stands still while this grows.
    const sinceLastLeftMs = now() - origin.lastLeftAt;
    return Math.max(origin.holdMs ?? HOLD_ASSUMED_MS, sinceLastLeftMs) / maxInFlightPerOrigin;
  };

  return {
    enter(name) {
      if (isClosed) return 'full';
      let origin = origins.get(name);
      if (origin === undefined) {
        origin = { inFlight: 0, waiting: new Set(), holdMs: recall(name), lastLeftAt: now(), nextPlaceAt: 0 };
        origins.set(name, origin);
      }
      if (origin.inFlight < maxInFlightPerOrigin) {
        origin.inFlight += 1;
        return 'entered';
      }
      if (origin.waiting.size < maxWaitingPerOrigin) return wait(origin, waitMaxMs);
      const isBrief = (origin.waiting.size + 1) * computePaceMs(origin) <= briefMs;
      return isBrief ? wait(origin, Math.min(waitMaxMs, BRIEF_WAITS * briefMs)) : 'full';
    },

    leave(name, heldMs) {
      const origin = origins.get(name);
      if (origin === undefined) throw new Error('A slot was left that nobody had entered.');
      if (heldMs !== undefined) {
        origin.holdMs = origin.holdMs === undefined ? heldMs : origin.holdMs + NEWEST_WEIGHT * (heldMs - origin.holdMs);
        origin.lastLeftAt = now();
      }
      const [next] = origin.waiting;
      // The slot passes to the one who waited longest; `inFlight` stays as it is.
      if (next !== undefined) next.answer('entered');
      else {
        origin.inFlight -= 1;
        if (origin.inFlight === 0) forget(name, origin.holdMs);
      }
    },

    suggestPostponeMs(name) {
      const origin = origins.get(name);
      if (origin === undefined) return POSTPONE_MIN_MS;
      const at = now();
      const paceMs = computePaceMs(origin);
      // Those who wait in memory go first.
      const firstPlaceAt = at + Math.max((origin.waiting.size + 1) * paceMs, POSTPONE_MIN_MS);
      const isBeyond = origin.nextPlaceAt > at + POSTPONE_MAX_MS;
      const placeAt = isBeyond ? firstPlaceAt : Math.max(firstPlaceAt, origin.nextPlaceAt);
      origin.nextPlaceAt = placeAt + paceMs;
      return Math.min(Math.ceil(placeAt - at), POSTPONE_MAX_MS);
    },

    isBrieflyFull() {
      for (const origin of origins.values()) {
        if (origin.waiting.size === 0) continue;
        const clearMs = origin.waiting.size * computePaceMs(origin);
        if (clearMs > AHEAD_MS && clearMs <= briefMs) return true;
      }
      return false;
    },

    close() {
      isClosed = true;
      for (const origin of origins.values()) for (const waiter of [...origin.waiting]) waiter.answer('full');
    },

    get originCount() {
      return origins.size;
    },
  };
}
