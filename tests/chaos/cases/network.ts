import type { Disturbance } from '@punctual/testkit';
import type { ChaosCase, LinkName } from '../chaos-case.ts';
import { SERVER_LINKS } from '../system/chaos-system.ts';

const KINDS: readonly { kind: string; text: string; disturbance: Disturbance }[] = [
  { kind: 'slow', text: '100 to 300 ms late each way', disturbance: { latencyMs: 100, jitterMs: 200 } },
  { kind: 'lossy', text: 'one piece in 30 breaks its connection', disturbance: { resetOneIn: 30 } },
  { kind: 'deaf', text: 'what is sent to the server vanishes', disturbance: { swallow: 'toServer' } },
  { kind: 'mute', text: 'what the server answers vanishes', disturbance: { swallow: 'toClient' } },
];
const DISTURBED_MS = 15_000;
const DISTURBED_SHORT_MS = 6_000;

/** Beside the ways to the servers, what is different about a case of the link. */
const LINKS: readonly { link: LinkName; allows: Partial<ChaosCase> }[] = [
  ...SERVER_LINKS.map((link) => ({ link, allows: { allowsRepeats: link === 'worker-postgres' } })),
  { link: 'client-api', allows: { outerLink: 'client-api', allowsNoAnswers: true } },
  // An attempt that is lost on its way is one that failed: the next one has a number of its own.
  { link: 'worker-endpoint', allows: { outerLink: 'worker-endpoint', allowsFailedAttempts: true } },
];

/** The network between each pair: slow, lossy, or cut in one direction only. */
export const network: readonly ChaosCase[] = LINKS.flatMap(({ link, allows }) =>
  KINDS.map(
    ({ kind, text, disturbance }): ChaosCase => ({
      name: `network:${link}:${kind}`,
      summary: `between ${link.replace('-', ' and ')}: ${text}, for ${DISTURBED_MS / 1_000} s`,
      allowsRepeats: false,
      ...allows,
      async fault({ links, choose, last }) {
        const way = links.get(link)!;
        way.disturb(disturbance);
        await last(choose(DISTURBED_MS, DISTURBED_SHORT_MS));
        await way.restore();
      },
    }),
  ),
);
