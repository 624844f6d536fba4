import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  CIRCUITS_MAX,
  CIRCUITS_PER_TENANT_MAX,
  createOriginCircuits,
  FORGOTTEN_AFTER_MS,
  OPEN_LISTED_MAX,
  PROBE_WAITS_MS,
  RETURN_SPACING_MS,
  RETURN_SPREAD_MAX_MS,
} from './origin-circuits.ts';

const TENANT = 'tenant-1';
const ORIGIN = 'https://dead.example';
const FAILURES = 5;

afterEach(() => void vi.useRealTimers());

/** Circuits on a clock that the test moves. */
function open(failuresToOpen = FAILURES) {
  let nowMs = 1_000_000;
  const told: string[] = [];
  const circuits = createOriginCircuits({
    failuresToOpen,
    onOpened: ({ origin }) => void told.push(`opened ${origin}`),
    onClosed: ({ origin }) => void told.push(`closed ${origin}`),
    now: () => nowMs,
  });
  const admit = (origin = ORIGIN, tenant = TENANT) => circuits.admit(tenant, origin);
  const report = async (
    contact: 'answered' | 'unanswered' | 'unknown',
    { admission = 'passed' as 'passed' | 'probe', origin = ORIGIN, tenant = TENANT } = {},
  ) => {
    circuits.report(tenant, origin, contact, admission);
    // What is reported takes effect within this turn of the event loop.
    await new Promise((resolve) => setImmediate(resolve));
  };
  const fail = async (times: number, of: { origin?: string; tenant?: string } = {}) => {
    for (let count = 0; count < times; count += 1) await report('unanswered', of);
  };
  const wait = (ms: number) => {
    nowMs += ms;
  };
  return { circuits, told, admit, report, fail, wait };
}

describe('a healthy endpoint', () => {
  it('has no circuit, whatever it answers', async () => {
    const { circuits, admit, report } = open();
    for (let count = 0; count < 100; count += 1) {
      expect(admit()).toBe('passed');
      await report('answered');
    }
    expect(circuits.size).toBe(0);
  });

  it('that fails to answer now and then has one only until its next answer', async () => {
    const { circuits, admit, report, fail, told } = open();
    for (let count = 0; count < 3; count += 1) {
      await fail(FAILURES - 1);
      expect(circuits.size).toBe(1);
      expect(admit()).toBe('passed');
      await report('answered');
      expect(circuits.size).toBe(0);
    }
    expect(told).toEqual([]);
  });

  it('is not blamed for what tells nothing', async () => {
    const { circuits, admit, report, fail } = open();
    for (let count = 0; count < FAILURES * 2; count += 1) await report('unknown');
    expect(circuits.size).toBe(0);
    await fail(1);
    for (let count = 0; count < FAILURES * 2; count += 1) await report('unknown');
    expect(admit()).toBe('passed');
  });

  it('is left alone by the circuit of another, and of another tenant', async () => {
    const { circuits, admit, fail } = open();
    await fail(FAILURES);
    expect(admit()).toBe('wait');
    expect(admit('https://healthy.example')).toBe('passed');
    expect(admit(ORIGIN, 'tenant-2')).toBe('passed');
    expect(circuits.mustWait('tenant-2', ORIGIN)).toBe(false);
  });
});

describe('a dead endpoint', () => {
  it('opens its circuit at the attempt that is one too many in a row, and that is told once', async () => {
    const { circuits, admit, fail, told, wait } = open();
    await fail(FAILURES - 1);
    expect([admit(), circuits.openCount]).toEqual(['passed', 0]);
    await fail(1);
    expect([admit(), circuits.mustWait(TENANT, ORIGIN), circuits.openCount]).toEqual(['wait', true, 1]);
    wait(PROBE_WAITS_MS[0]);
    expect(admit()).toBe('probe');
    circuits.report(TENANT, ORIGIN, 'unanswered', 'probe');
    await fail(FAILURES);
    expect(told).toEqual([`opened ${ORIGIN}`]);
  });

  it('opens its circuit also when many attempts fail in the same moment', async () => {
    const { circuits, admit, report } = open();
    await Promise.all(Array.from({ length: FAILURES * 4 }, () => report('unanswered')));
    expect([admit(), circuits.openCount]).toEqual(['wait', 1]);
  });

  it('gets one attempt after each wait, which grows to its maximum and stays there', async () => {
    const { admit, fail, report, wait } = open();
    await fail(FAILURES);
    for (const waitMs of [...PROBE_WAITS_MS, PROBE_WAITS_MS.at(-1)!, PROBE_WAITS_MS.at(-1)!]) {
      wait(waitMs - 1);
      expect(admit()).toBe('wait');
      wait(1);
      expect([admit(), admit(), admit()]).toEqual(['probe', 'wait', 'wait']);
      // However long it takes.
      wait(60_000);
      expect(admit()).toBe('wait');
      await report('unanswered', { admission: 'probe' });
      expect(admit()).toBe('wait');
    }
  });

  it('is let through again with the answer to that one attempt', async () => {
    const { circuits, admit, fail, report, told, wait } = open();
    await fail(FAILURES);
    wait(PROBE_WAITS_MS[0]);
    expect(admit()).toBe('probe');
    await report('answered', { admission: 'probe' });
    expect([admit(), admit(), circuits.size, circuits.openCount]).toEqual(['passed', 'passed', 0, 0]);
    expect(told).toEqual([`opened ${ORIGIN}`, `closed ${ORIGIN}`]);
    await fail(FAILURES - 1);
    expect(admit()).toBe('passed');
    await fail(1);
    wait(PROBE_WAITS_MS[0]);
    expect(admit()).toBe('probe');
  });

  it('stays held back after a probe that told nothing', async () => {
    const { admit, fail, report, wait } = open();
    await fail(FAILURES);
    wait(PROBE_WAITS_MS[0]);
    expect(admit()).toBe('probe');
    await report('unknown', { admission: 'probe' });
    expect(admit()).toBe('wait');
    wait(PROBE_WAITS_MS[1]);
    expect(admit()).toBe('probe');
  });

  it('is alive when one that was sent before answers after all, also while a probe is under way', async () => {
    const { circuits, admit, fail, report, wait } = open();
    await fail(FAILURES);
    await report('answered');
    expect([admit(), circuits.openCount]).toEqual(['passed', 0]);
    await fail(FAILURES);
    wait(PROBE_WAITS_MS[0]);
    expect(admit()).toBe('probe');
    await report('answered');
    expect(admit()).toBe('passed');
    await report('unanswered', { admission: 'probe' });
    expect([admit(), circuits.size, circuits.openCount]).toEqual(['passed', 1, 0]);
  });

  it('is not held back longer by attempts that were under way when its circuit opened', async () => {
    const { admit, fail, wait } = open();
    await fail(FAILURES);
    wait(PROBE_WAITS_MS[0] - 1);
    await fail(FAILURES * 10);
    wait(1);
    expect(admit()).toBe('probe');
    await fail(FAILURES);
    expect(admit()).toBe('wait');
  });

  it('is probed in time although the clock of its host is set back or forth', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const { admit, fail, report, wait } = open();
    await fail(FAILURES);
    vi.setSystemTime(Date.now() + 3_600_000);
    expect(admit()).toBe('wait');
    vi.setSystemTime(Date.now() - 7_200_000);
    wait(PROBE_WAITS_MS[0]);
    expect(admit()).toBe('probe');
    await report('unanswered', { admission: 'probe' });
    wait(PROBE_WAITS_MS[1] - 1);
    expect(admit()).toBe('wait');
    wait(1);
    expect(admit()).toBe('probe');
  });

  it('has no circuit where circuits are turned off', async () => {
    const { circuits, admit, fail } = open(0);
    await fail(1_000);
    expect([admit(), circuits.size]).toEqual(['passed', 0]);
  });
});

describe('timers that must wait', () => {
  const suggest = (circuits: ReturnType<typeof open>['circuits'], count: number) =>
    Array.from({ length: count }, () => circuits.suggestPostponeMs(TENANT, ORIGIN));

  it('come back one after another, the first of them when the next probe is due', async () => {
    const { circuits, fail, wait } = open();
    await fail(FAILURES);
    const [first] = PROBE_WAITS_MS;
    wait(300);
    expect(suggest(circuits, 4)).toEqual([0, 1, 2, 3].map((place) => first - 300 + place * RETURN_SPACING_MS));
    wait(first - 300);
    // The next ones go behind those who are on their way.
    expect(suggest(circuits, 2)).toEqual([4, 5].map((place) => place * RETURN_SPACING_MS));
  });

  it('while a probe is under way come back as if it had failed: one that takes long will', async () => {
    const { circuits, admit, fail, wait } = open();
    await fail(FAILURES);
    wait(PROBE_WAITS_MS[0]);
    expect(admit()).toBe('probe');
    expect(suggest(circuits, 2)).toEqual([PROBE_WAITS_MS[1], PROBE_WAITS_MS[1] + RETURN_SPACING_MS]);
  });

  it('are not put off for longer than the spread, however many they are', async () => {
    const { circuits, fail } = open();
    await fail(FAILURES);
    const places = RETURN_SPREAD_MAX_MS / RETURN_SPACING_MS;
    const suggested = suggest(circuits, places + 10);
    const [first] = PROBE_WAITS_MS;
    expect(suggested.toSorted((a, b) => a - b).at(-1)).toBe(first + RETURN_SPREAD_MAX_MS);
    expect(suggested.slice(places + 1, places + 4)).toEqual(
      [0, 1, 2].map((place) => first + place * RETURN_SPACING_MS),
    );
  });

  it('for many circuits come back no faster in all than for one', async () => {
    const { circuits, fail } = open();
    const COUNT = 20;
    const TIMERS = 500;
    const origins = Array.from({ length: COUNT }, (_, index) => `https://dead-${index}.example`);
    for (const origin of origins) await fail(FAILURES, { origin });
    const perSecond = new Map<number, number>();
    for (let timer = 0; timer < TIMERS; timer += 1) {
      for (const origin of origins) {
        const second = Math.floor(circuits.suggestPostponeMs(TENANT, origin) / 1_000);
        perSecond.set(second, (perSecond.get(second) ?? 0) + 1);
      }
    }
    // The first of each is a probe, and the shares become smaller while the first few are given out.
    expect(Math.max(...perSecond.values())).toBeLessThanOrEqual(1_000 / RETURN_SPACING_MS + 3 * COUNT);
    expect([...perSecond.values()].reduce((sum, count) => sum + count)).toBe(COUNT * TIMERS);
  });

  it('have the share of their tenant, however many endpoints of another are dead, and all of it when those are done', async () => {
    const { circuits, fail, wait } = open();
    for (let index = 0; index < 10; index += 1) {
      const of = { origin: `https://dead-${index}.example`, tenant: 'greedy' };
      await fail(FAILURES, of);
      for (let timer = 0; timer < 100; timer += 1) circuits.suggestPostponeMs(of.tenant, of.origin);
    }
    await fail(FAILURES);
    const spacingMs = RETURN_SPACING_MS * 2;
    const suggested = suggest(circuits, 50);
    // The share is halved with the second place, once it is known that this one needs it too.
    expect(suggested.at(-1)! - suggested[1]!).toBe(48 * spacingMs);
    wait(60_000);
    const later = suggest(circuits, 50);
    expect(later[1]! - later[0]!).toBe(RETURN_SPACING_MS);
    expect(later.at(-1)! - later[0]!).toBe(49 * RETURN_SPACING_MS);
  });

  it('come back at once when an answer has come meanwhile', async () => {
    const { circuits, fail, report } = open();
    await fail(FAILURES);
    await report('answered');
    expect(suggest(circuits, 2)).toEqual([1, 1]);
  });
});

describe('circuits', () => {
  const name = (index: number) => `https://${index}.example`;

  it('of a tenant are limited: one that only counts gives way, and when all are open further ones go without', async () => {
    const { circuits: counting, fail: failThere } = open(2);
    for (let index = 0; index <= CIRCUITS_PER_TENANT_MAX; index += 1) {
      counting.report(TENANT, name(index), 'unanswered', 'passed');
    }
    expect(counting.size).toBe(CIRCUITS_PER_TENANT_MAX);
    // The first has been forgotten, so it begins to count anew.
    await failThere(1, { origin: name(0) });
    expect(counting.mustWait(TENANT, name(0))).toBe(false);
    await failThere(1, { origin: name(CIRCUITS_PER_TENANT_MAX) });
    expect(counting.mustWait(TENANT, name(CIRCUITS_PER_TENANT_MAX))).toBe(true);

    const { circuits, admit, report, fail } = open(1);
    for (let index = 0; index < CIRCUITS_PER_TENANT_MAX; index += 1) {
      circuits.report(TENANT, name(index), 'unanswered', 'passed');
    }
    await report('unknown');
    await fail(3, { origin: 'https://one-more.example' });
    expect([circuits.size, circuits.openCount]).toEqual([CIRCUITS_PER_TENANT_MAX, CIRCUITS_PER_TENANT_MAX]);
    expect([admit(name(0)), admit('https://one-more.example')]).toEqual(['wait', 'passed']);
  });

  it('are limited in all: of the tenant that has the most one gives way, and nobody else loses any', async () => {
    const { circuits, admit, fail } = open(1);
    await fail(1, { tenant: 'first' });
    const greedy = Array.from({ length: CIRCUITS_MAX / CIRCUITS_PER_TENANT_MAX }, (_, index) => `greedy-${index}`);
    for (const tenant of greedy) {
      for (let index = 0; index < CIRCUITS_PER_TENANT_MAX; index += 1) {
        circuits.report(tenant, name(index), 'unanswered', 'passed');
      }
    }
    await fail(1, { tenant: 'last' });
    expect(circuits.size).toBe(CIRCUITS_MAX);
    expect([admit(ORIGIN, 'first'), admit(ORIGIN, 'last')]).toEqual(['wait', 'wait']);
    const lost = greedy.flatMap((tenant) =>
      Array.from({ length: CIRCUITS_PER_TENANT_MAX }, (_, index) => admit(name(index), tenant)).filter(
        (answer) => answer === 'passed',
      ),
    );
    expect(lost).toHaveLength(2);
    expect(circuits.openCount).toBe(CIRCUITS_MAX);
  });

  it('to which nobody comes any more are forgotten, others not', async () => {
    const { circuits, admit, fail, told, wait } = open();
    await fail(FAILURES);
    await fail(1, { origin: name(1) });
    wait(FORGOTTEN_AFTER_MS);
    circuits.forgetIdle();
    expect([circuits.size, circuits.openCount]).toEqual([2, 1]);
    expect(circuits.suggestPostponeMs(TENANT, ORIGIN)).toBeGreaterThan(0);
    wait(1);
    circuits.forgetIdle();
    expect([circuits.size, circuits.openCount]).toEqual([1, 1]);
    wait(FORGOTTEN_AFTER_MS);
    circuits.forgetIdle();
    expect([admit(), circuits.size, circuits.openCount]).toEqual(['passed', 0, 0]);
    expect(told).toEqual([`opened ${ORIGIN}`, `closed ${ORIGIN}`]);
  });

  it('whose probe is under way are not forgotten, however long it takes', async () => {
    const { circuits, admit, fail, wait } = open();
    await fail(FAILURES);
    wait(PROBE_WAITS_MS[0]);
    expect(admit()).toBe('probe');
    wait(FORGOTTEN_AFTER_MS * 2);
    circuits.forgetIdle();
    expect(circuits.openCount).toBe(1);
  });

  it('that are open are listed, up to some, with what people want to know', async () => {
    const { circuits, fail } = open(2);
    const before = Date.now();
    await fail(2);
    await fail(1, { origin: 'https://shaky.example' });
    const [listed, ...others] = circuits.listOpen();
    expect(others).toEqual([]);
    expect(listed).toEqual({
      origin: ORIGIN,
      tenantId: TENANT,
      failures: 2,
      since: expect.stringMatching(/Z$/),
      until: expect.stringMatching(/Z$/),
    });
    expect(Date.parse(listed!.since)).toBeGreaterThanOrEqual(before);
    const waitMs = Date.parse(listed!.until) - Date.parse(listed!.since);
    expect(Math.abs(waitMs - PROBE_WAITS_MS[0])).toBeLessThan(500);
    for (let index = 0; index < OPEN_LISTED_MAX * 2; index += 1) await fail(2, { origin: name(index) });
    expect(circuits.listOpen()).toHaveLength(OPEN_LISTED_MAX);
    expect(circuits.listOpen()[0]!.origin).toBe(ORIGIN);
  });
});
