import type { Disturbance } from '@punctual/testkit';
import type { ChaosCase } from '../chaos-case.ts';
import type { LinkName } from '../system/chaos-system.ts';

const LINKS: readonly LinkName[] = [
  'api-postgres',
  'scheduler-postgres',
  'worker-postgres',
  'scheduler-redis',
  'worker-redis',
];
const KINDS: readonly { kind: string; text: string; disturbance: Disturbance }[] = [
  { kind: 'slow', text: '100 to 300 ms late each way', disturbance: { latencyMs: 100, jitterMs: 200 } },
  { kind: 'lossy', text: 'one piece in 30 breaks its connection', disturbance: { resetOneIn: 30 } },
  { kind: 'deaf', text: 'what is sent to the server vanishes', disturbance: { swallow: 'toServer' } },
  { kind: 'mute', text: 'what the server answers vanishes', disturbance: { swallow: 'toClient' } },
];
const DISTURBED_MS = 15_000;
const DISTURBED_SHORT_MS = 6_000;

/** The network between each pair: slow, lossy, or cut in one direction only. */
export const network: readonly ChaosCase[] = LINKS.flatMap((link) =>
  KINDS.map(
    ({ kind, text, disturbance }): ChaosCase => ({
      name: `network:${link}:${kind}`,
      summary: `between ${link.replace('-', ' and ')}: ${text}, for ${DISTURBED_MS / 1_000} s`,
      allowsRepeats: link === 'worker-postgres',
      async fault({ system, choose, last }) {
        const way = system.links.get(link)!;
        way.disturb(disturbance);
        await last(choose(DISTURBED_MS, DISTURBED_SHORT_MS));
        await way.restore();
      },
    }),
  ),
);
