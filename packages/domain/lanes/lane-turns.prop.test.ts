import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  compareTurns,
  decideTurns,
  describeRate,
  type LaneTurn,
  type LaneView,
  WAKES_PER_LANE_MAX,
} from './lane-turns.ts';

/** A lane's timers as one after the other would see them: who waits, who was woken, who runs. */
class SequentialLane {
  readonly limit: number | null;
  readonly ratePerSecond: number | null;
  readonly parked = new Map<string, LaneTurn>();
  /** Woken, and when they may start. */
  readonly woken = new Map<string, LaneTurn & { at: number }>();
  readonly running = new Set<string>();
  readonly startedAt: number[] = [];
  readonly order: LaneTurn[] = [];
  usedUntil: number | null = null;
  isWaiting = false;

  constructor(limit: number | null, ratePerSecond: number | null) {
    this.limit = limit;
    this.ratePerSecond = ratePerSecond;
  }

  view(): LaneView {
    const waiting = [
      ...[...this.parked.values()].map((turn) => ({ ...turn, isParked: true })),
      ...[...this.woken.values()].map(({ id, turnAt }) => ({ id, turnAt, isParked: false })),
    ].toSorted(compareTurns);
    return {
      name: 'lane',
      limit: this.limit,
      ratePerSecond: this.ratePerSecond,
      used: this.running.size,
      usedUntil: this.usedUntil,
      waiting: waiting.slice(0, (this.limit ?? WAKES_PER_LANE_MAX) + 20),
    };
  }

  look(arrived: readonly LaneTurn[], now: number): void {
    const due = [...this.woken.values()].filter(({ at }) => at <= now);
    const candidates = [...arrived, ...due].map(({ id, turnAt }) => ({ id, turnAt, lanes: ['lane'] }));
    const byId = new Map(candidates.map((candidate) => [candidate.id, candidate]));
    const decision = decideTurns([this.view()], candidates, now);
    for (const id of decision.started) {
      const { turnAt } = byId.get(id)!;
      const ahead = [...this.parked.values(), ...this.woken.values()].filter(
        (turn) => compareTurns(turn, { id, turnAt }) < 0 && !decision.started.includes(turn.id),
      );
      if (this.limit === 1) expect(ahead).toEqual([]);
      this.woken.delete(id);
      this.running.add(id);
      this.startedAt.push(now);
      this.order.push({ id, turnAt });
    }
    for (const { id } of decision.refused) {
      const { turnAt } = byId.get(id)!;
      this.woken.delete(id);
      this.parked.set(id, { id, turnAt });
    }
    for (const { id, at } of decision.woken) {
      const turn = this.parked.get(id);
      expect(turn).toBeDefined();
      expect(at).toBeGreaterThanOrEqual(now);
      this.parked.delete(id);
      this.woken.set(id, { ...turn!, at });
    }
    expect(this.limit === null || this.running.size <= this.limit).toBe(true);
    this.usedUntil = decision.lanes[0]!.usedUntil;
    this.isWaiting = decision.lanes[0]!.isWaiting;
    expect(this.isWaiting).toBe(this.parked.size + this.woken.size > 0);
  }
}

const step = fc.record({
  arrivals: fc.integer({ min: 0, max: 6 }),
  ends: fc.integer({ min: 0, max: 4 }),
  cancels: fc.integer({ min: 0, max: 1 }),
  passedMs: fc.integer({ min: 0, max: 400 }),
});

describe('turns in a lane', () => {
  it('are kept whatever comes and ends: no more run than may, none overtakes, none is forgotten', () => {
    fc.assert(
      fc.property(
        fc.option(fc.integer({ min: 1, max: 4 })),
        fc.option(fc.constantFrom(0.5, 1, 3, 20, 60, 200)),
        fc.array(step, { maxLength: 60 }),
        (limit, ratePerSecond, steps) => {
          const lane = new SequentialLane(limit, ratePerSecond);
          let now = 1_000_000;
          let count = 0;
          for (const { arrivals, ends, cancels, passedMs } of steps) {
            now += passedMs;
            for (const id of [...lane.running].slice(0, ends)) lane.running.delete(id);
            for (const id of [...lane.parked.keys()].slice(0, cancels)) lane.parked.delete(id);
            const arrived = Array.from({ length: arrivals }, () => {
              count += 1;
              return { id: String(count).padStart(6, '0'), turnAt: now - ((count * 37) % 50) };
            });
            lane.look(arrived, now);
          }
          // From here on only what is looked at each second, and what ends.
          for (let turn = 0; lane.isWaiting && turn < 10_000; turn += 1) {
            now += 1_000;
            lane.running.clear();
            lane.look([], now);
          }
          expect(lane.isWaiting).toBe(false);
          if (ratePerSecond === null) return;
          const times = lane.startedAt;
          for (const from of times) {
            const inOneSecond = times.filter((at) => at >= from && at < from + 1_000 - 0.01).length;
            expect(inOneSecond).toBeLessThanOrEqual(Math.ceil(ratePerSecond));
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('a rate holds in every second, however often a busy lane is looked at', () => {
    const passed = fc.array(fc.integer({ min: 1, max: 25 }), { minLength: 150, maxLength: 300 });
    fc.assert(
      fc.property(fc.constantFrom(1, 5, 20, 60, 200, 1_000), passed, (ratePerSecond, steps) => {
        let now = 1_000_000;
        let usedUntil: number | null = null;
        const times: number[] = [];
        for (const passedMs of steps) {
          now += passedMs;
          const candidates = Array.from({ length: 60 }, (_, index) => {
            return { id: String(index).padStart(3, '0'), turnAt: now, lanes: ['lane'] };
          });
          const view = { name: 'lane', limit: null, ratePerSecond, used: 0, usedUntil, waiting: [] };
          const decision = decideTurns([view], candidates, now);
          usedUntil = decision.lanes[0]!.usedUntil;
          for (const _ of decision.started) times.push(now);
        }
        for (const from of new Set(times)) {
          const inOneSecond = times.filter((at) => at >= from && at < from + 1_000).length;
          expect(inOneSecond).toBeLessThanOrEqual(ratePerSecond);
        }
      }),
      { numRuns: 30 },
    );
  });

  it('a rate is used nearly whole', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.001, max: 100_000, noNaN: true }), (ratePerSecond) => {
        const { atOnce, everyMs } = describeRate(ratePerSecond);
        expect(1000 / everyMs).toBeGreaterThanOrEqual(ratePerSecond * 0.95);
        expect(1000 / everyMs).toBeLessThanOrEqual(ratePerSecond * 1.000_001);
        expect(atOnce).toBeGreaterThanOrEqual(1);
      }),
    );
  });

  it('who is refused by one of its lanes takes no place in the others, and holds nobody there', () => {
    const views = [
      { name: 'full', limit: 1, ratePerSecond: null, used: 1, usedUntil: null, waiting: [] },
      { name: 'free', limit: 1, ratePerSecond: null, used: 0, usedUntil: null, waiting: [] },
    ];
    const decision = decideTurns(
      views,
      [
        { id: 'a', turnAt: 1, lanes: ['free', 'full'] },
        { id: 'b', turnAt: 2, lanes: ['free'] },
      ],
      10,
    );
    expect(decision.started).toEqual(['b']);
    expect(decision.refused).toEqual([{ id: 'a', lane: 'full' }]);
  });
});
