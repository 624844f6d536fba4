import { ProblemError } from '../problem.ts';

/** The tenant has no such workflow; another's is none. */
export function createWorkflowNotFound(): ProblemError {
  return new ProblemError(404, 'workflow_not_found', 'There is no such workflow.');
}
