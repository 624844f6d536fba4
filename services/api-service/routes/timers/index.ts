import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { registerCancelTimer, registerCancelTimers } from './cancel-timer.ts';
import { registerChangeTimer, registerChangeTimers } from './change-timer.ts';
import { registerCountTimers, registerTimerHistogram } from './count-timers.ts';
import { registerCreateTimer } from './create-timer.ts';
import { registerCreateTimers } from './create-timers.ts';
import { registerEraseTimer } from './erase-timer.ts';
import { registerFireTimer } from './fire-timer.ts';
import { registerListAttempts } from './list-attempts.ts';
import { registerListTimers } from './list-timers.ts';
import { registerPauseTimer } from './pause-timer.ts';
import { registerReadTimer } from './read-timer.ts';

/** Everything under `/v1/timers`. */
export function registerTimerRoutes(app: ApiServer, context: ApiContext): void {
  registerCreateTimer(app, context);
  registerCreateTimers(app, context);
  registerListTimers(app, context);
  registerCountTimers(app, context);
  registerTimerHistogram(app, context);
  registerReadTimer(app, context);
  registerListAttempts(app, context);
  registerChangeTimer(app, context);
  registerChangeTimers(app, context);
  registerCancelTimer(app, context);
  registerCancelTimers(app, context);
  registerEraseTimer(app, context);
  registerFireTimer(app, context);
  registerPauseTimer(app, context);
}
