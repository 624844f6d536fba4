import { createTestLogger } from '@punctual/testkit';
import { describe, expect, it } from 'vitest';
import { PacedWalk } from './paced-walk.ts';

const INTERVAL_MS = 60_000;
const STEPS = 3;

/** A walk of three steps, which may be told to fail, and notes the steps that it takes. */
class Walk extends PacedWalk {
  readonly taken: number[] = [];
  isLeading = true;
  failsAt: number | undefined;
  stepMs = 0;

  constructor() {
    super({
      name: 'test',
      errorPauseMs: 1,
      complaint: 'it fails',
      logger: createTestLogger().logger,
      isLeading: () => this.isLeading,
      intervalMs: INTERVAL_MS,
      timeShare: 0.1,
    });
  }

  override choosePauseMs(): number {
    return super.choosePauseMs();
  }

  async takeTurns(count: number): Promise<void> {
    for (let turn = 0; turn < count; turn += 1) await this.runOnce();
  }

  protected override async *walk(): AsyncGenerator<void, void, void> {
    for (let step = 0; step < STEPS; step += 1) {
      if (step === this.failsAt) throw new Error('as told');
      this.taken.push(step);
      const until = performance.now() + this.stepMs;
      while (performance.now() < until);
      yield;
    }
  }
}

describe('a walk', () => {
  it('takes one step a turn, and begins anew when it is over', async () => {
    const walk = new Walk();
    await walk.takeTurns(2 * (STEPS + 1));
    expect(walk.taken).toEqual([0, 1, 2, 0, 1, 2]);
  });

  it('takes its share of the time between its steps, and then waits for the next beginning', async () => {
    const walk = new Walk();
    walk.stepMs = 50;
    await walk.takeTurns(1);
    // Nine times as long as the step, but for what has passed since.
    expect(walk.choosePauseMs()).toBeGreaterThan(50);
    expect(walk.choosePauseMs()).toBeLessThan(INTERVAL_MS / 2);
    await walk.takeTurns(STEPS);
    expect(walk.choosePauseMs()).toBeGreaterThan(INTERVAL_MS / 2);
    expect(walk.choosePauseMs()).toBeLessThan(INTERVAL_MS);
  });

  it('that fails begins anew at the next turn', async () => {
    const walk = new Walk();
    walk.failsAt = 1;
    await walk.takeTurns(1);
    await expect(walk.runOnce()).rejects.toThrow('as told');
    walk.failsAt = undefined;
    await walk.takeTurns(2);
    expect(walk.taken).toEqual([0, 0, 1]);
  });

  it('is not made by who does not lead, and begins anew with whoever leads again', async () => {
    const walk = new Walk();
    await walk.takeTurns(2);
    walk.isLeading = false;
    await walk.takeTurns(2);
    expect(walk.choosePauseMs()).toBe(1_000);
    walk.isLeading = true;
    expect(walk.choosePauseMs()).toBe(0);
    await walk.takeTurns(1);
    expect(walk.taken).toEqual([0, 1, 0]);
  });
});
