import type { LaneRule } from './concurrency.ts';

/** Somebody in a lane. Those with the earlier turn go first; of two with the same, the one with the smaller id. */
export interface LaneTurn {
  id: string;
  /** When it is due, and earlier by what its priority is worth (epoch ms). */
  turnAt: number;
}

/** One that waits for a place. */
export interface WaitingTurn extends LaneTurn {
  /** Parked for this lane: nobody starts it before it is woken. */
  isParked: boolean;
}

/** A lane as it is now, locked. */
export interface LaneView extends LaneRule {
  name: string;
  /** How many of it run. */
  used: number;
  /** Until when its rate is used up (epoch ms, database's clock); null: it never was. */
  usedUntil: number | null;
  /** The first of those that wait and are due, in their order; as many as could start, and one more. */
  waiting: readonly WaitingTurn[];
}

/** One that could start now if each of its lanes has a place for it. */
export interface Candidate extends LaneTurn {
  /** Names of its lanes. */
  lanes: readonly string[];
}

/** What becomes of the lanes and of those in them. */
export interface LaneDecision {
  started: string[];
  /** Who has to wait, and for which lane. */
  refused: { id: string; lane: string }[];
  /** Who is parked and has its turn by now, and when it may start (epoch ms). */
  woken: { id: string; lane: string; at: number }[];
  /** For each lane: until when its rate is used up, and whether anybody waits. */
  lanes: { name: string; usedUntil: number | null; isWaiting: boolean }[];
}

/** One look wakes so many of a lane at most. */
export const WAKES_PER_LANE_MAX = 1_000;
/** By a rate they are woken so far ahead (ms): somebody looks again sooner than that. */
const RATE_AHEAD_MS = 3_000;
/** What a rate lets begin at once: what it lets begin evenly spaced in this time (ms), so that it can be used up by starts that are made together. */
const RATE_BURST_MS = 50;

/** Order of turns. */
export function compareTurns(a: LaneTurn, b: LaneTurn): number {
  return a.turnAt - b.turnAt || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}

/**
 * How a rate is kept: so many at once, then one each `everyMs`. In no second more than `ratePerSecond` begin: those at once and
 * those evenly spaced after them are no more together.
 */
export function describeRate(ratePerSecond: number): { atOnce: number; everyMs: number } {
  const atOnce = Math.max(1, Math.floor((ratePerSecond * RATE_BURST_MS) / 1000));
  return { atOnce, everyMs: 1000 / Math.max(ratePerSecond - atOnce + 1, Math.min(ratePerSecond, 1)) };
}

/** A lane while it is decided about. */
class OpenLane {
  readonly view: LaneView;
  readonly #now: number;
  readonly #left: Set<string>;
  #started = 0;
  #usedUntil: number | null;

  constructor(view: LaneView, now: number) {
    this.view = view;
    this.#now = now;
    this.#left = new Set(view.waiting.map(({ id }) => id));
    this.#usedUntil = view.usedUntil;
  }

  get usedUntil(): number | null {
    return this.#usedUntil;
  }

  get isWaiting(): boolean {
    return this.#left.size > 0;
  }

  /** Whether it has a place for one that goes behind those who wait with an earlier turn. */
  hasPlaceFor(turn: LaneTurn): boolean {
    let ahead = 0;
    for (const waiting of this.view.waiting) {
      if (compareTurns(waiting, turn) >= 0) break;
      if (this.#left.has(waiting.id)) ahead += 1;
    }
    return this.#freePlaces > ahead && this.#findOpening(ahead) <= this.#now;
  }

  take(id: string): void {
    this.#started += 1;
    this.#left.delete(id);
    const { ratePerSecond } = this.view;
    if (ratePerSecond !== null)
      this.#usedUntil = Math.max(this.#usedUntil ?? 0, this.#now) + describeRate(ratePerSecond).everyMs;
  }

  /** Who waits here from now on. */
  keep(id: string): void {
    this.#left.add(id);
  }

  /** Those who have their turn, and when. */
  listTurns(): { turn: WaitingTurn; at: number }[] {
    const turns: { turn: WaitingTurn; at: number }[] = [];
    const most = Math.min(this.#freePlaces, WAKES_PER_LANE_MAX);
    for (const turn of this.view.waiting) {
      if (!this.#left.has(turn.id)) continue;
      const at = this.#findOpening(turns.length);
      if (turns.length >= most || at > this.#now + RATE_AHEAD_MS) break;
      turns.push({ turn, at });
    }
    return turns;
  }

  get #freePlaces(): number {
    const { limit, used } = this.view;
    return limit === null ? Number.POSITIVE_INFINITY : limit - used - this.#started;
  }

  // When the rate lets the next begin, and so many before it.
  #findOpening(ahead: number): number {
    const { ratePerSecond } = this.view;
    if (ratePerSecond === null) return this.#now;
    const { atOnce, everyMs } = describeRate(ratePerSecond);
    const usedUntil = Math.max(this.#usedUntil ?? 0, this.#now);
    // A database's instant has microseconds.
    return Math.max(this.#now, usedUntil + (ahead - atOnce + 1) * everyMs - 0.001);
  }
}

/**
 * Decides who of `candidates` starts at `now` (epoch ms, database's clock): those for whom every one of their lanes has a place
 * which nobody with an earlier turn waits for. The others are refused by the first lane that has none. What places are left
 * go to those who are parked, in order of their turns.
 */
export function decideTurns(views: readonly LaneView[], candidates: readonly Candidate[], now: number): LaneDecision {
  const lanes = new Map(views.map((view) => [view.name, new OpenLane(view, now)]));
  const decision: LaneDecision = { started: [], refused: [], woken: [], lanes: [] };
  for (const candidate of candidates.toSorted(compareTurns)) {
    const full = candidate.lanes.find((name) => !lanes.get(name)!.hasPlaceFor(candidate));
    if (full === undefined) {
      for (const name of candidate.lanes) lanes.get(name)!.take(candidate.id);
      decision.started.push(candidate.id);
    } else {
      lanes.get(full)!.keep(candidate.id);
      decision.refused.push({ id: candidate.id, lane: full });
    }
  }
  const refusedBy = new Map(decision.refused.map(({ id, lane }) => [id, lane]));
  for (const lane of lanes.values()) {
    const { name } = lane.view;
    for (const { turn, at } of lane.listTurns()) {
      // One that was just refused here is parked from now on; one that waits for another lane is woken there.
      const isHere = refusedBy.has(turn.id) ? refusedBy.get(turn.id) === name : turn.isParked;
      if (isHere) decision.woken.push({ id: turn.id, lane: name, at });
    }
    decision.lanes.push({ name, usedUntil: lane.usedUntil, isWaiting: lane.isWaiting });
  }
  return decision;
}
