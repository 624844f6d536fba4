import { countUnheedingWorkers, GATES_KNOWN_FOR_MS, readGatesEpoch } from '@punctual/database';
import type { ApiContext } from '../context.ts';

/** Between two looks at what workers say (ms). */
const LOOK_INTERVAL_MS = 5;
/** Beyond the time in which a worker may act on what it knew: clocks of hosts do not run alike (ms). */
const MARGIN_MS = 100;

/**
 * Waits, after the commit of a change of gates, until no worker acts on the gates as they were before: each that lives has said
 * so, or the time is over in which it may without looking. A few ten milliseconds as a rule, GATES_KNOWN_FOR_MS when a worker
 * was killed or stands still, or is of a version that knows no gates.
 */
export async function waitUntilHeeded({ database, metrics }: Pick<ApiContext, 'database' | 'metrics'>): Promise<void> {
  const beganAt = performance.now();
  const epoch = await readGatesEpoch(database.hot);
  while (performance.now() - beganAt < GATES_KNOWN_FOR_MS + MARGIN_MS) {
    if ((await countUnheedingWorkers(database.hot, epoch)) === 0) break;
    await new Promise((resolve) => setTimeout(resolve, LOOK_INTERVAL_MS));
  }
  metrics.gatesHeededSeconds.observe((performance.now() - beganAt) / 1000);
}
