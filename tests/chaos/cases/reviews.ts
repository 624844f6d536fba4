import type { ChaosCase } from '../chaos-case.ts';

const KILLS = 20;
const KILLS_SHORT = 3;
/** Between two kills (ms): a scheduler that leads has looked at all runs several times by then. */
const LIFE_MS = 1_500;
/** Between two looks at all runs (ms). */
const LOOKS_MS = '100';

/** What tidies up behind runs has nothing to do with those that move. */
export const reviews: readonly ChaosCase[] = [
  {
    name: 'review:all-the-time',
    summary: `runs are reviewed and retention is kept ten times a second, while schedulers and workers are killed ${KILLS} times`,
    isInTests: true,
    system: { env: { SCHEDULER_REVIEW_INTERVAL_MS: LOOKS_MS, RETENTION_INTERVAL_MS: LOOKS_MS } },
    allowsRepeats: true,
    async fault({ system, choose, last, log }) {
      const services = [...system.listServices('scheduler'), ...system.listServices('worker')];
      for (let done = 0; done < choose(KILLS, KILLS_SHORT); done += 1) {
        const service = services[done % services.length]!;
        await service.waitUntilReady();
        await last(LIFE_MS);
        service.kill('SIGKILL');
        log(`  kill ${done + 1}`);
      }
      await Promise.all(services.map((service) => service.waitUntilReady()));
    },
  },
];
