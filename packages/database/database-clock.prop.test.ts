import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DatabaseClock, readMonotonicMs } from './database-clock.ts';

/** What epoch milliseconds in a double can not tell apart. */
const ROUNDING_MS = 0.002;
/** The longest way to the server or back in these stories (ms). */
const LATENCY_MAX_MS = 50;
/** The shortest (ms): below, the rounding of epoch milliseconds in a double looks like a step of a clock. */
const LATENCY_MIN_MS = 0.01;

/** This process' `performance.now()`, moved by hand. */
let localMs = 0;

beforeEach(() => {
  localMs = 1_000;
  vi.spyOn(performance, 'now').mockImplementation(() => localMs);
});
afterEach(() => {
  vi.restoreAllMocks();
});

/** A server whose clock runs faster or slower than ours by `driftPpm`, and may be set. */
class SimulatedServer {
  readonly #rate: number;
  #offsetMs: number;

  constructor(offsetMs: number, driftPpm: number) {
    this.#rate = 1 + driftPpm * 1e-6;
    this.#offsetMs = offsetMs;
  }

  now(): number {
    return performance.timeOrigin + this.#offsetMs + localMs * this.#rate;
  }

  step(byMs: number): void {
    this.#offsetMs += byMs;
  }
}

interface Turn {
  pauseMs: number;
  thereMs: number;
  backMs: number;
  /** How long after the answer the clock is looked at again. */
  laterMs: number;
}

const turn: fc.Arbitrary<Turn> = fc.record({
  pauseMs: fc.double({ min: 0, max: 60_000, noNaN: true }),
  thereMs: fc.double({ min: LATENCY_MIN_MS, max: LATENCY_MAX_MS, noNaN: true }),
  backMs: fc.double({ min: LATENCY_MIN_MS, max: LATENCY_MAX_MS, noNaN: true }),
  laterMs: fc.double({ min: 0, max: 60_000, noNaN: true }),
});
const turns = fc.array(turn, { minLength: 1, maxLength: 40 });
const offset = fc.double({ min: -1e9, max: 1e9, noNaN: true });
// Two clocks that together stay within what the class allows for.
const drift = fc.double({ min: -190, max: 190, noNaN: true });

/** Asks the server once, with these latencies. */
function ask(server: SimulatedServer, clock: DatabaseClock, { pauseMs, thereMs, backMs }: Turn): void {
  localMs += pauseMs;
  const sentAt = readMonotonicMs();
  localMs += thereMs;
  const serverAt = server.now();
  localMs += backMs;
  clock.observe(sentAt, serverAt, readMonotonicMs());
}

describe("the estimate of the database's clock", () => {
  it('is never ahead in its lower bound, whatever the latencies and the drift, right after an answer and a minute later', () => {
    fc.assert(
      fc.property(offset, drift, turns, (offsetMs, driftPpm, story) => {
        const server = new SimulatedServer(offsetMs, driftPpm);
        const clock = new DatabaseClock();
        for (const step of story) {
          ask(server, clock, step);
          expect(clock.nowAtLeast()).toBeLessThanOrEqual(server.now() + ROUNDING_MS);
          expect(Math.abs(clock.now() - server.now())).toBeLessThanOrEqual(clock.errorMs + ROUNDING_MS);
          localMs += step.laterMs;
          expect(clock.nowAtLeast()).toBeLessThanOrEqual(server.now() + ROUNDING_MS);
        }
        expect(clock.steps).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  it('is right again from the first answer on after either clock was set by more than the round trips', () => {
    const step = fc
      .double({ min: 4 * LATENCY_MAX_MS, max: 1e8, noNaN: true })
      .chain((size) => fc.constantFrom(size, -size));
    fc.assert(
      fc.property(offset, turns, step, turns, (offsetMs, before, byMs, after) => {
        const server = new SimulatedServer(offsetMs, 0);
        const clock = new DatabaseClock();
        for (const each of before) ask(server, clock, each);
        server.step(byMs);
        for (const each of after) {
          ask(server, clock, { ...each, pauseMs: each.pauseMs / 100 });
          expect(clock.nowAtLeast()).toBeLessThanOrEqual(server.now() + ROUNDING_MS);
        }
        expect(clock.steps).toBe(1);
      }),
    );
  });

  it('is wrong by no more than the round trip after a step too small to be noticed', () => {
    fc.assert(
      fc.property(
        offset,
        fc.double({ min: -LATENCY_MAX_MS, max: LATENCY_MAX_MS, noNaN: true }),
        turns,
        (offsetMs, byMs, after) => {
          const server = new SimulatedServer(offsetMs, 0);
          const clock = new DatabaseClock();
          ask(server, clock, { pauseMs: 0, thereMs: 1, backMs: 1, laterMs: 0 });
          server.step(byMs);
          for (const each of after) {
            ask(server, clock, each);
            const roundTripMs = each.thereMs + each.backMs;
            expect(clock.nowAtLeast()).toBeLessThanOrEqual(server.now() + roundTripMs + ROUNDING_MS);
          }
        },
      ),
    );
  });

  it('gets better with each quick answer and knows how good it is', () => {
    const server = new SimulatedServer(5_000, 0);
    const clock = new DatabaseClock();
    expect(clock.isKnown).toBe(false);
    expect(clock.nowAtLeast()).toBe(Number.NEGATIVE_INFINITY);
    ask(server, clock, { pauseMs: 0, thereMs: 10, backMs: 30, laterMs: 0 });
    expect(clock.isKnown).toBe(true);
    expect(clock.errorMs).toBeCloseTo(20, 1);
    ask(server, clock, { pauseMs: 10, thereMs: 0.4, backMs: 0.2, laterMs: 0 });
    expect(clock.errorMs).toBeLessThan(0.31);
    expect(Math.abs(clock.now() - server.now())).toBeLessThan(0.31);
  });
});
