import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { registerChangeSchedule } from './change-schedule.ts';
import { registerCreateSchedule } from './create-schedule.ts';
import { registerReadSchedules } from './read-schedules.ts';
import { registerSteerSchedule } from './steer-schedule.ts';
import { registerTriggerSchedule } from './trigger-schedule.ts';

/** Everything under `/v1/schedules`. */
export function registerScheduleRoutes(app: ApiServer, context: ApiContext): void {
  registerCreateSchedule(app, context);
  registerReadSchedules(app, context);
  registerChangeSchedule(app, context);
  registerSteerSchedule(app, context);
  registerTriggerSchedule(app, context);
}
