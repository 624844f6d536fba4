/** Bounds of what `suggestPostponeMs` says (ms). Below, the timer is back before a slot is; above, it may be far too late. */
export const POSTPONE_MIN_MS = 100;
export const POSTPONE_MAX_MS = 30_000;
/** How long an attempt is taken to hold its slot before any has ended (ms). */
export const HOLD_ASSUMED_MS = 100;
/** Weight of the newest attempt in the average time that slots are held. About the last ten count. */
const NEWEST_WEIGHT = 0.2;

export interface OriginGateOptions {
  /** Attempts to one origin that may be under way at the same time. */
  maxInFlightPerOrigin: number;
  /** Attempts to one origin that may wait for a slot in memory. */
  maxWaitingPerOrigin: number;
  /** How long one waits at most (ms). Bound it by the lease of a start, which goes on while the attempt waits. */
  waitMaxMs: number;
  /** Milliseconds of a clock that never goes back. */
  now?: () => number;
}

export interface OriginGate {
  /**
   * Asks for a slot. `entered` must be followed by exactly one `leave`. `full` means that nothing was taken and that
   * the timer should be postponed by `suggestPostponeMs`, not counted as an attempt. A promise means that it waits, in
   * order of arrival, for at most `waitMaxMs`.
   */
  enter(origin: string): 'entered' | 'full' | Promise<'entered' | 'full'>;
  /** Gives a slot back; `heldMs` is how long it was held. */
  leave(origin: string, heldMs: number): void;
  /**
   * How long to postpone a timer of an origin that is full (ms, POSTPONE_MIN_MS to POSTPONE_MAX_MS). Each call gets the
   * next place in a queue that moves at the origin's own pace, so that postponed timers come back one after another
   * and not all at once. Beyond POSTPONE_MAX_MS the places start over.
   */
  suggestPostponeMs(origin: string): number;
  /**
   * Whether some origin has attempts waiting that will all have got in within `limitMs` at its present pace. Then it is
   * better to wait a moment than to start more timers; an origin that takes longer is no reason to hold back others.
   */
  clearsWithin(limitMs: number): boolean;
  /** Answers everyone who waits, and everyone to come, with `full`: for draining. Slots held are still to be left. */
  close(): void;
  /** Origins with an attempt under way. All others are forgotten. */
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
 * exceeds them goes back to the database. It holds no record of an origin without attempts under way.
 */
export function createOriginGate(options: OriginGateOptions): OriginGate {
  const { maxInFlightPerOrigin, maxWaitingPerOrigin, waitMaxMs, now = () => performance.now() } = options;
  const origins = new Map<string, Origin>();
  let isClosed = false;

  const wait = (origin: Origin): Promise<'entered' | 'full'> =>
    new Promise((resolve) => {
      const waiter: Waiter = {
        answer: (answer) => {
          clearTimeout(waiter.timer);
          origin.waiting.delete(waiter);
          resolve(answer);
        },
        timer: setTimeout(() => waiter.answer('full'), waitMaxMs),
      };
      origin.waiting.add(waiter);
    });

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
        origin = { inFlight: 0, waiting: new Set(), holdMs: undefined, lastLeftAt: now(), nextPlaceAt: 0 };
        origins.set(name, origin);
      }
      if (origin.inFlight < maxInFlightPerOrigin) {
        origin.inFlight += 1;
        return 'entered';
      }
      return origin.waiting.size < maxWaitingPerOrigin ? wait(origin) : 'full';
    },

    leave(name, heldMs) {
      const origin = origins.get(name);
      if (origin === undefined) throw new Error('A slot was left that nobody had entered.');
      origin.holdMs = origin.holdMs === undefined ? heldMs : origin.holdMs + NEWEST_WEIGHT * (heldMs - origin.holdMs);
      origin.lastLeftAt = now();
      const [next] = origin.waiting;
      // The slot passes to the one who waited longest; `inFlight` stays as it is.
      if (next !== undefined) next.answer('entered');
      else {
        origin.inFlight -= 1;
        if (origin.inFlight === 0) origins.delete(name);
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

    clearsWithin(limitMs) {
      for (const origin of origins.values()) {
        if (origin.waiting.size > 0 && origin.waiting.size * computePaceMs(origin) <= limitMs) return true;
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
