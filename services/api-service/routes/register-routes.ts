import type { ApiServer } from '../api-server.ts';
import type { ApiContext } from '../context.ts';
import { registerBulkOperationRoutes } from './bulk-operations/index.ts';
import { registerDeadLetterRoutes } from './dead-letters/index.ts';
import { registerPreviewDelay } from './delays/preview-delay.ts';
import { registerGateRoutes } from './gates/pause-gates.ts';
import { registerLimitRoutes } from './limits/limits.ts';
import { registerOperatorRoutes } from './register-operator-routes.ts';
import { registerRunRoutes } from './runs/index.ts';
import { registerScheduleRoutes } from './schedules/index.ts';
import { registerTaskRoutes } from './tasks/index.ts';
import { registerTimerRoutes } from './timers/index.ts';
import { registerWorkflowRoutes } from './workflows/index.ts';

/** Every route that needs a key. */
export function registerRoutes(app: ApiServer, context: ApiContext): void {
  registerTimerRoutes(app, context);
  registerDeadLetterRoutes(app, context);
  registerPreviewDelay(app, context);
  registerWorkflowRoutes(app, context);
  registerRunRoutes(app, context);
  registerGateRoutes(app, context);
  registerLimitRoutes(app, context);
  registerBulkOperationRoutes(app, context);
  registerScheduleRoutes(app, context);
  registerTaskRoutes(app, context);
  registerOperatorRoutes(app, context);
}
