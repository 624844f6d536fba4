import {
  type Candidate,
  type Concurrency,
  completeLaneRule,
  decideTurns,
  type LaneDecision,
  type LaneRule,
  WAKES_PER_LANE_MAX,
} from '@punctual/domain';
import { inTransaction, type Transaction, type TransactionPool } from '../connect.ts';
import { type LaneLimit, type LimitKind, nameLimitLane } from '../queries/lane-limits.ts';
import {
  countUsedPlaces,
  KEY_LANE_PREFIX,
  type LaneKey,
  type LockedLane,
  lockLanedTimers,
  lockLanes,
  lockNeglectedLanes,
  lockWaitingLanes,
  noteLanes,
  parkLanedTimers,
  readLaneTurns,
  readNow,
  takePlaces,
  wakeLanedTimers,
} from '../queries/lanes.ts';
import type { LaneWish, TimerVersion } from '../queries/start-timers.ts';

/** A lane that a timer has to go through, and what holds for it. */
export interface TimerLane extends LaneRule {
  name: string;
}

/** A timer that may start only where all of its lanes have a place. */
export interface LanedTimer extends TimerVersion {
  tenantId: string;
  lanes: readonly TimerLane[];
}

/** What tells which lanes a due timer goes through. */
export type LanedSubject = Pick<LaneWish, 'tenantId' | 'lane' | 'concurrency' | 'workflowId' | 'pullQueue'> & {
  /** Of the endpoint that it calls, where somebody has set a limit for an origin. */
  origin?: string | undefined;
};

/** The lanes of a due timer: that of its key, and those of the limits of its tenant that are for it. */
export function listTimerLanes(subject: LanedSubject, limits: readonly LaneLimit[]): TimerLane[] {
  const { tenantId, lane, concurrency } = subject;
  const names: Record<LimitKind, string | null | undefined> = {
    tenant: '',
    workflow: subject.workflowId,
    queue: subject.pullQueue,
    origin: subject.origin,
  };
  const ofLimits = limits
    .filter((limit) => limit.tenantId === tenantId && limit.name === names[limit.kind])
    .map(({ limit, ratePerSecond, ...key }) => ({ name: nameLimitLane(key), limit, ratePerSecond }));
  if (lane === null || concurrency === null) return ofLimits;
  return [{ name: KEY_LANE_PREFIX + lane, ...completeLaneRule(JSON.parse(concurrency) as Concurrency) }, ...ofLimits];
}

const nameLane = ({ tenantId, name }: LaneKey) => `${tenantId} ${name}`;

/**
 * Starts those of `timers` whose turn it is in all of their lanes, by `start`, in one transaction in which nobody else takes or
 * finds a place there. The others that are due are parked, and woken when it is their turn. A timer that was changed, started or
 * cancelled since, or that somebody else has locked, is left alone.
 */
export async function startInLanes<Started extends { id: string }>(
  pool: TransactionPool,
  timers: readonly LanedTimer[],
  start: (client: Transaction, timers: readonly TimerVersion[]) => Promise<Started[]>,
): Promise<Started[]> {
  const byId = new Map(timers.map((timer) => [timer.id, timer]));
  const wanted = new Map<string, LaneKey & LaneRule>();
  for (const { tenantId, lanes } of timers) {
    for (const lane of lanes) {
      const name = nameLane({ tenantId, name: lane.name });
      wanted.set(name, { tenantId, ...tighten(lane, wanted.get(name)) });
    }
  }
  return inTransaction(pool, async (client) => {
    // `now` is read behind the locks, so that it is later than what others wrote before they let go of them.
    const lanes = await lockLanes(client, [...wanted.values()]);
    const candidates = (await lockLanedTimers(client, timers)).map((turn): Candidate => {
      const { tenantId, lanes: own } = byId.get(turn.id)!;
      return { ...turn, lanes: own.map(({ name }) => nameLane({ tenantId, name })) };
    });
    const decision = await decide(client, lanes, candidates);
    const started = await start(
      client,
      decision.started.map((id) => byId.get(id)!),
    );
    const places = started.flatMap(({ id }) => {
      const { tenantId, lanes: own } = byId.get(id)!;
      return own.map(({ name }) => ({ tenantId, name, timerId: id }));
    });
    await takePlaces(client, places);
    await parkLanedTimers(client, decision.refused.map(withBareLane));
    await settle(client, lanes, decision);
    return started;
  });
}

/** Of two rules for one lane in one transaction the stricter counts. */
function tighten(lane: TimerLane, other: LaneRule | undefined): TimerLane {
  const least = (a: number | null, b: number | null | undefined) => (a === null ? (b ?? null) : Math.min(a, b ?? a));
  return {
    name: lane.name,
    limit: least(lane.limit, other?.limit),
    ratePerSecond: least(lane.ratePerSecond, other?.ratePerSecond),
  };
}

/** Wakes whoever has a turn in these lanes by now: for those who know that places were given back there. */
export async function wakeLanes(pool: TransactionPool, lanes: readonly LaneKey[]): Promise<void> {
  await inTransaction(pool, async (client) => wakeLocked(client, await lockWaitingLanes(client, lanes)));
}

/**
 * The same for lanes that nobody has looked at for so long (ms), `lanesMax` of them: their places were given back by somebody who
 * died before he could tell, or a rate lets the next begin. Returns how many it looked at.
 */
export async function wakeNeglectedLanes(pool: TransactionPool, notForMs: number, lanesMax: number): Promise<number> {
  return inTransaction(pool, async (client) => {
    const lanes = await lockNeglectedLanes(client, notForMs, lanesMax);
    await wakeLocked(client, lanes);
    return lanes.length;
  });
}

async function wakeLocked(client: Transaction, lanes: readonly LockedLane[]): Promise<void> {
  if (lanes.length > 0) await settle(client, lanes, await decide(client, lanes, []));
}

async function decide(
  client: Transaction,
  lanes: readonly LockedLane[],
  candidates: readonly Candidate[],
): Promise<LaneDecision> {
  const used = new Map((await countUsedPlaces(client, lanes)).map((lane) => [nameLane(lane), lane.used]));
  const usedOf = (lane: LaneKey) => used.get(nameLane(lane)) ?? 0;
  const comers = new Map<string, number>();
  for (const name of candidates.flatMap((candidate) => candidate.lanes)) comers.set(name, (comers.get(name) ?? 0) + 1);
  const asked = lanes.map((lane) => {
    const { tenantId, name, limitMax } = lane;
    const turns = Math.min(
      limitMax === null ? WAKES_PER_LANE_MAX : Math.max(0, limitMax - usedOf(lane)),
      WAKES_PER_LANE_MAX,
    );
    return { tenantId, name, rowsMax: turns + (comers.get(nameLane(lane)) ?? 0) + 1 };
  });
  const waiting = Map.groupBy(await readLaneTurns(client, asked), nameLane);
  const views = lanes.map((lane) => ({
    name: nameLane(lane),
    limit: lane.limitMax,
    ratePerSecond: lane.ratePerSecond,
    usedUntil: lane.usedUntil,
    used: usedOf(lane),
    waiting: waiting.get(nameLane(lane)) ?? [],
  }));
  return decideTurns(views, candidates, await readNow(client));
}

async function settle(client: Transaction, lanes: readonly LockedLane[], decision: LaneDecision): Promise<void> {
  await wakeLanedTimers(client, decision.woken.map(withBareLane));
  const outcomes = new Map(decision.lanes.map((lane) => [lane.name, lane]));
  await noteLanes(
    client,
    lanes.map(({ tenantId, name }) => {
      const { usedUntil, isWaiting } = outcomes.get(nameLane({ tenantId, name }))!;
      return { tenantId, name, usedUntil, isWaiting };
    }),
  );
}

/** The name of a lane without its tenant. */
function withBareLane<Item extends { lane: string }>(item: Item): Item {
  return { ...item, lane: item.lane.slice(item.lane.indexOf(' ') + 1) };
}
