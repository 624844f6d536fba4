import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Contact } from './http-outcome.ts';
import { createOriginCircuits, PROBE_WAITS_MS } from './origin-circuits.ts';

const FAILURES = 3;
const KEYS = [
  ['tenant-1', 'https://a.example'],
  ['tenant-1', 'https://b.example'],
  ['tenant-2', 'https://a.example'],
] as const;

interface Model {
  /** In a row, until it opens. */
  failures: number;
  isOpen: boolean;
  openings: number;
  probeAt: number;
  hasProbe: boolean;
  underWay: ('passed' | 'probe')[];
}

it('whatever comes in whatever order: an open circuit lets one attempt through at a time, after its wait, and any answer closes it', async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('admit' as const), key: fc.nat(KEYS.length - 1) }),
    fc.record({
      kind: fc.constant('report' as const),
      key: fc.nat(KEYS.length - 1),
      which: fc.nat(20),
      contact: fc.constantFrom<Contact>('answered', 'unanswered', 'unanswered', 'unanswered', 'unknown'),
    }),
    fc.record({ kind: fc.constant('wait' as const), ms: fc.constantFrom(1, 999, 1_000, 2_000, 40_000) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 150 }), async (steps) => {
      let nowMs = 0;
      const circuits = createOriginCircuits({
        failuresToOpen: FAILURES,
        onOpened: () => {},
        onClosed: () => {},
        now: () => nowMs,
      });
      const createModel = (): Model => ({
        failures: 0,
        isOpen: false,
        openings: 0,
        probeAt: 0,
        hasProbe: false,
        underWay: [],
      });
      const models = KEYS.map(createModel);
      const openModel = (model: Model) => {
        model.isOpen = true;
        model.openings += 1;
        model.probeAt = nowMs + PROBE_WAITS_MS[Math.min(model.openings, PROBE_WAITS_MS.length) - 1]!;
      };
      for (const each of steps) {
        if (each.kind === 'wait') {
          nowMs += each.ms;
          continue;
        }
        const [tenant, origin] = KEYS[each.key]!;
        const model = models[each.key]!;
        if (each.kind === 'admit') {
          const expected = !model.isOpen ? 'passed' : model.hasProbe || nowMs < model.probeAt ? 'wait' : 'probe';
          expect(circuits.mustWait(tenant, origin)).toBe(expected === 'wait');
          expect(circuits.admit(tenant, origin)).toBe(expected);
          if (expected === 'probe') model.hasProbe = true;
          if (expected !== 'wait') model.underWay.push(expected);
          continue;
        }
        if (model.underWay.length === 0) continue;
        const [admission] = model.underWay.splice(each.which % model.underWay.length, 1);
        circuits.report(tenant, origin, each.contact, admission!);
        await new Promise((resolve) => setImmediate(resolve));
        const isProbe = admission === 'probe' && model.hasProbe;
        if (each.contact === 'answered') Object.assign(model, createModel(), { underWay: model.underWay });
        else if (isProbe) {
          model.hasProbe = false;
          openModel(model);
        } else if (each.contact === 'unanswered' && !model.isOpen) {
          model.failures += 1;
          if (model.failures === FAILURES) openModel(model);
        }
        expect(circuits.openCount).toBe(models.filter(({ isOpen }) => isOpen).length);
      }
    }),
  );
});
