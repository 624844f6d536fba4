import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { registerAddTask } from './add-task.ts';
import { registerArchiveWorkflow } from './archive-workflow.ts';
import { registerCreateWorkflow } from './create-workflow.ts';
import { registerGetWorkflow } from './get-workflow.ts';
import { registerListWorkflowVersions } from './list-workflow-versions.ts';
import { registerListWorkflows } from './list-workflows.ts';
import { registerPauseWorkflow } from './pause-workflow.ts';
import { registerReplaceWorkflow } from './replace-workflow.ts';

/** Every route of workflows. */
export function registerWorkflowRoutes(app: ApiServer, context: ApiContext): void {
  registerCreateWorkflow(app, context);
  registerListWorkflows(app, context);
  registerGetWorkflow(app, context);
  registerReplaceWorkflow(app, context);
  registerArchiveWorkflow(app, context);
  registerAddTask(app, context);
  registerListWorkflowVersions(app, context);
  registerPauseWorkflow(app, context);
}
