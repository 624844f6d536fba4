import type { Action, DelayRule, PartialRetryPolicy } from '@punctual/domain';
import type { Queryable } from './connect.ts';
import { nameStatement } from './statement.ts';

/** A task as its workflow version stores it. */
export interface StoredTask {
  key: string;
  after?: string[];
  delay?: DelayRule;
  action: Action;
  retry?: PartialRetryPolicy;
  timeoutMs?: number;
}

export interface WorkflowVersion {
  workflowId: string;
  version: number;
  name: string;
  timeZone: string;
  tasks: StoredTask[];
}

const selectVersion = nameStatement<{ name: string; time_zone: string; tasks: string }>(
  'read_workflow_version',
  'SELECT name, time_zone, tasks FROM workflow_versions WHERE workflow_id = $1 AND version = $2',
);

/** Versions kept in memory; each may hold up to a thousand tasks. The one that waited longest unused leaves. */
const VERSIONS_CACHED_MAX = 1000;

/** Workflow versions by id and number. They never change, so what was read once is good for ever. */
export class WorkflowVersions {
  readonly #known = new Map<string, WorkflowVersion>();

  /** Rejects when there is no such version: whoever names one got it from a row that references it. */
  async read(database: Queryable, workflowId: string, version: number): Promise<WorkflowVersion> {
    const key = `${workflowId}/${version}`;
    let found = this.#known.get(key);
    if (found) {
      this.#known.delete(key);
    } else {
      const [row] = await selectVersion(database, [workflowId, version]);
      if (!row) throw new Error(`workflow ${workflowId} has no version ${version}`);
      found = {
        workflowId,
        version,
        name: row.name,
        timeZone: row.time_zone,
        tasks: JSON.parse(row.tasks) as StoredTask[],
      };
    }
    this.#known.set(key, found);
    if (this.#known.size > VERSIONS_CACHED_MAX) this.#known.delete(this.#known.keys().next().value!);
    return found;
  }
}
