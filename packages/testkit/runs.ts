import {
  type BegunTimers,
  beginFirstNodes,
  createDeadTimers,
  createRuns,
  createTimers,
  type Database,
  describeTree,
  inTransaction,
  RunFacts,
  type StoredTask,
  type WorkflowVersions,
} from '@punctual/database';
import { beginRunTree, choosePartition, createId, DEFAULT_TENANT_ID, listFirstNodes } from '@punctual/domain';
import { TEST_PARTITION_COUNT } from './timers.ts';

/** Stores a workflow of the default tenant with one version, and returns its id. */
export async function storeWorkflow(database: Database, tasks: readonly StoredTask[]): Promise<string> {
  const id = createId();
  await database.ordinary.query(
    `WITH w AS (
       INSERT INTO workflows (id, tenant_id, name, created_at, updated_at)
       VALUES ($1, $2, 'test', clock_timestamp(), clock_timestamp()) RETURNING id
     )
     INSERT INTO workflow_versions (workflow_id, version, name, time_zone, tasks, created_at)
     SELECT id, 1, 'test', 'UTC', $3, clock_timestamp() FROM w`,
    [id, DEFAULT_TENANT_ID, JSON.stringify(tasks)],
  );
  return id;
}

/** Begins `count` runs of a workflow that `storeWorkflow` made, and returns their ids. `input` is JSON text. */
export async function beginRuns(
  database: Database,
  versions: WorkflowVersions,
  workflowId: string,
  count: number,
  input: string | null = null,
): Promise<string[]> {
  const version = await versions.read(database.hot, workflowId, 1);
  const now = Date.now();
  const begun: BegunTimers = { timers: [], skipped: [], dead: [] };
  const runs = Array.from({ length: count }, () => {
    const id = createId();
    const partition = choosePartition(id, TEST_PARTITION_COUNT);
    const tree = beginRunTree(version.tasks);
    const facts = new RunFacts(tree);
    facts.setInput(input);
    const run = { id, tenant_id: DEFAULT_TENANT_ID, partition, locked_at: now };
    const progress = { run, version, tree, facts, nodes: listFirstNodes(tree) };
    beginFirstNodes(progress, begun);
    return { id, partition, taskStates: describeTree(progress).taskStates };
  });
  await inTransaction(database.hot, async (client) => {
    await createRuns(
      client,
      runs.map((run) => ({
        ...run,
        tenantId: DEFAULT_TENANT_ID,
        workflowId,
        workflowVersion: 1,
        status: 'running',
        input,
        externalId: null,
        labels: null,
        createdAt: now,
      })),
    );
    await createTimers(client, begun.timers);
    await createDeadTimers(client, begun.dead);
  });
  return runs.map((run) => run.id);
}
