import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { registerLeaseTasks } from '../task-queues/lease-tasks.ts';
import { registerCompleteTask, registerCompleteTasks } from './complete-task.ts';
import { registerExtendLease } from './extend-lease.ts';
import { registerFailTask } from './fail-task.ts';

/** What workers of the customer call: `/v1/task-queues` and `/v1/tasks`. */
export function registerTaskRoutes(app: ApiServer, context: ApiContext): void {
  registerLeaseTasks(app, context);
  registerCompleteTask(app, context);
  registerCompleteTasks(app, context);
  registerFailTask(app, context);
  registerExtendLease(app, context);
}
