import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { registerCancelRun } from './cancel-run.ts';
import { registerCreateRun } from './create-run.ts';
import { registerCreateRunBatch } from './create-run-batch.ts';
import { registerEraseRun } from './erase-run.ts';
import { registerGetRun } from './get-run.ts';
import { registerListRuns } from './list-runs.ts';
import { registerPauseRun } from './pause-run.ts';
import { registerRetryRun } from './retry-run.ts';
import { registerSignalRun } from './signal-run.ts';

/** Every route of runs. */
export function registerRunRoutes(app: ApiServer, context: ApiContext): void {
  registerCreateRun(app, context);
  registerCreateRunBatch(app, context);
  registerListRuns(app, context);
  registerGetRun(app, context);
  registerCancelRun(app, context);
  registerRetryRun(app, context);
  registerPauseRun(app, context);
  registerEraseRun(app, context);
  registerSignalRun(app, context);
}
