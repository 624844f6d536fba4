import type { ApiServer } from '../api-server.ts';
import type { ApiContext } from '../context.ts';
import { registerDeadLetterRoutes } from './dead-letters/index.ts';
import { registerPreviewDelay } from './delays/preview-delay.ts';
import { registerOperatorRoutes } from './register-operator-routes.ts';
import { registerRunRoutes } from './runs/index.ts';
import { registerTimerRoutes } from './timers/index.ts';
import { registerWorkflowRoutes } from './workflows/index.ts';

/** Every route that needs a key. */
export function registerRoutes(app: ApiServer, context: ApiContext): void {
  registerTimerRoutes(app, context);
  registerDeadLetterRoutes(app, context);
  registerPreviewDelay(app, context);
  registerWorkflowRoutes(app, context);
  registerRunRoutes(app, context);
  registerOperatorRoutes(app, context);
}
