import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createOriginGate } from './origin-gate.ts';

const ORIGINS = ['https://a.example', 'https://b.example', 'https://c.example'];

it('whatever comes and goes, no origin exceeds its slots or its queue, no slot is lost, and nobody is overtaken', async () => {
  const step = fc.record({ origin: fc.constantFrom(...ORIGINS), kind: fc.constantFrom('enter', 'enter', 'leave') });
  const settings = fc.record({ slots: fc.integer({ min: 1, max: 3 }), places: fc.integer({ min: 0, max: 3 }) });
  await fc.assert(
    fc.asyncProperty(settings, fc.array(step, { maxLength: 80 }), async ({ slots, places }, steps) => {
      const gate = createOriginGate({
        maxInFlightPerOrigin: slots,
        maxWaitingPerOrigin: places,
        briefMs: 0,
        waitMaxMs: 60_000,
      });
      const inFlight = new Map<string, number>();
      // Arrival numbers of those who wait, and of those who were let in after waiting.
      const waiting = new Map<string, number[]>();
      let arrivals = 0;
      const count = (origin: string) => inFlight.get(origin) ?? 0;
      const queue = (origin: string) => waiting.get(origin) ?? [];

      const leave = async (origin: string) => {
        inFlight.set(origin, count(origin) - 1);
        gate.leave(origin, 1);
        await new Promise<void>((resolve) => queueMicrotask(resolve));
        await Promise.resolve();
      };
      for (const { origin, kind } of steps) {
        if (kind === 'leave') {
          if (count(origin) > 0) await leave(origin);
          continue;
        }
        const answer = gate.enter(origin);
        const arrival = arrivals++;
        if (answer === 'entered') {
          expect(count(origin)).toBeLessThan(slots);
          expect(queue(origin)).toEqual([]);
          inFlight.set(origin, count(origin) + 1);
        } else if (answer === 'full') {
          expect(count(origin)).toBe(slots);
          expect(queue(origin)).toHaveLength(places);
        } else {
          expect(count(origin)).toBe(slots);
          expect(queue(origin).length).toBeLessThan(places);
          waiting.set(origin, [...queue(origin), arrival]);
          void answer.then((late) => {
            expect(late).toBe('entered');
            expect(queue(origin)[0]).toBe(arrival);
            waiting.set(origin, queue(origin).slice(1));
            inFlight.set(origin, count(origin) + 1);
          });
        }
      }
      for (const origin of ORIGINS) while (count(origin) > 0) await leave(origin);
      expect(ORIGINS.flatMap(queue)).toEqual([]);
      expect(gate.originCount).toBe(0);
    }),
  );
});
