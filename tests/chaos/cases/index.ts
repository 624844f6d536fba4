import type { ChaosCase } from '../chaos-case.ts';
import { bulkOperations } from './bulk-operations.ts';
import { clocks } from './clocks.ts';
import { crowds } from './crowds.ts';
import { drains } from './drains.ts';
import { failOvers } from './fail-overs.ts';
import { failpoints } from './failpoints.ts';
import { freezes } from './freezes.ts';
import { kills } from './kills.ts';
import { mappedRuns } from './mapped-runs.ts';
import { network } from './network.ts';
import { none } from './none.ts';
import { pauses } from './pauses.ts';
import { pullWorkers } from './pull-workers.ts';
import { races } from './races.ts';
import { reviews } from './reviews.ts';
import { servers } from './servers.ts';

/** The fault matrix. */
export const CASES: readonly ChaosCase[] = [
  ...none,
  ...kills,
  ...failpoints,
  ...freezes,
  ...servers,
  ...failOvers,
  ...network,
  ...clocks,
  ...races,
  ...reviews,
  ...crowds,
  ...mappedRuns,
  ...pauses,
  ...bulkOperations,
  ...pullWorkers,
  ...drains,
];
