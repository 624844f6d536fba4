import { afterEach, describe, expect, it, vi } from 'vitest';
import { type CheckResult, Health } from './health.ts';

afterEach(() => {
  vi.useRealTimers();
});

const ok = async (): Promise<CheckResult> => ({ status: 'ok' });
const down = async (): Promise<CheckResult> => ({ status: 'down', detail: 'It is away.' });

function openHealth(checks: Record<string, { isRequired: boolean; run: () => Promise<CheckResult> }> = {}): Health {
  const health = new Health('1.2.3');
  for (const [name, { isRequired, run }] of Object.entries(checks)) health.addCheck(name, isRequired, run);
  return health;
}

describe('health', () => {
  it('is live, and not ready, while what it depends on is away: a restart would not mend that', async () => {
    const health = openHealth({ postgres: { isRequired: true, run: down } });
    health.markStarted();
    expect(health.live()).toEqual({ isLive: true, stuck: [] });
    const { isReady, report } = await health.ready();
    expect(isReady).toBe(false);
    expect(report).toMatchObject({
      status: 'down',
      version: '1.2.3',
      checks: { postgres: { status: 'down', detail: 'It is away.' } },
    });
  });

  it('is ready, and degraded, while something that it can do without is away', async () => {
    const health = openHealth({ postgres: { isRequired: true, run: ok }, queue: { isRequired: false, run: down } });
    health.markStarted();
    expect(await health.ready()).toMatchObject({
      isReady: true,
      report: { status: 'degraded', checks: { queue: { status: 'degraded' } } },
    });
  });

  it('is not ready before it has started, nor from the moment it drains, and live throughout', async () => {
    const health = openHealth({ postgres: { isRequired: true, run: ok } });
    expect((await health.ready()).isReady).toBe(false);
    health.markStarted();
    expect((await health.ready()).isReady).toBe(true);
    health.markDraining();
    expect((await health.ready()).isReady).toBe(false);
    expect(health.live().isLive).toBe(true);
  });

  it('is neither live nor ready while a loop of its own is stuck, and tells which', async () => {
    const health = openHealth();
    health.markStarted();
    const loop = { name: 'read-ahead', isStuck: false };
    health.addLoop(loop);
    health.addLoop({ name: 'pruner', isStuck: false });
    expect(health.live().isLive).toBe(true);
    loop.isStuck = true;
    expect(health.live()).toEqual({ isLive: false, stuck: ['read-ahead'] });
    const { isReady, report } = await health.ready();
    expect(isReady).toBe(false);
    expect(report.checks.loops).toEqual({ status: 'down', detail: 'These loops make no progress: read-ahead.' });
    loop.isStuck = false;
    expect((await health.ready()).isReady).toBe(true);
  });

  it('takes a check that throws, and one that never answers, for down, and asks all of them at once', async () => {
    vi.useFakeTimers();
    const health = openHealth({
      broken: { isRequired: false, run: () => Promise.reject(new Error('connect ECONNREFUSED')) },
      hanging: { isRequired: true, run: () => new Promise(() => {}) },
      other: { isRequired: false, run: () => new Promise(() => {}) },
    });
    const asked = health.report();
    await vi.advanceTimersByTimeAsync(2_000);
    expect((await asked).checks).toEqual({
      broken: { status: 'degraded', detail: 'connect ECONNREFUSED' },
      hanging: { status: 'down', detail: 'It did not answer within 2000 ms.' },
      other: { status: 'degraded', detail: 'It did not answer within 2000 ms.' },
    });
    expect(vi.getTimerCount(), 'timers left behind').toBe(0);
  });
});
