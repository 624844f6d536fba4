import { expect } from 'vitest';
import type { TestApi } from './open-test-api.ts';

/** Stores a workflow of these tasks, and begins a run of it. */
export async function beginRunOf(api: TestApi, tasks: object[], input?: unknown) {
  const workflow = await api.request('POST', '/v1/workflows', { name: 'mapped', tasks });
  expect(workflow).toMatchObject({ status: 201, body: { tasks } });
  const run = await api.request('POST', '/v1/runs', { workflowId: workflow.body.id, input });
  expect(run.status).toBe(201);
  return { workflowId: workflow.body.id as string, run: run.body };
}
