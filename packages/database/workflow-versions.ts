import type { Action, Concurrency, DelayRule, FlowTask, PartialRetryPolicy } from '@punctual/domain';
import type { Queryable } from './connect.ts';
import { nameStatement } from './statement.ts';

/** A task as its workflow version stores it. */
export interface StoredTask extends FlowTask {
  after?: string[];
  delay?: DelayRule;
  action: Action;
  retry?: PartialRetryPolicy;
  timeoutMs?: number;
  /** Its key may be a template. */
  concurrency?: Concurrency;
  /** Its action has templates. Unset by versions that knew none: what looks like one there is plain text. */
  hasTemplates?: boolean;
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

/**
 * Size of the versions kept in memory, as the JSON text of their tasks (characters). One has at most a million; most have
 * a few hundred. The one that waited longest unused leaves.
 */
const CACHED_LENGTH_MAX = 16_000_000;

/** Workflow versions by id and number. They never change, so what was read once is good for ever. */
export class WorkflowVersions {
  readonly #known = new Map<string, { version: WorkflowVersion; length: number }>();
  #length = 0;

  /** Rejects when there is no such version: whoever names one got it from a row that references it. */
  async read(database: Queryable, workflowId: string, version: number): Promise<WorkflowVersion> {
    const key = `${workflowId}/${version}`;
    let entry = this.#known.get(key);
    if (entry) {
      this.#known.delete(key);
    } else {
      const [row] = await selectVersion(database, [workflowId, version]);
      if (!row) throw new Error(`workflow ${workflowId} has no version ${version}`);
      const tasks = JSON.parse(row.tasks) as StoredTask[];
      entry = {
        version: { workflowId, version, name: row.name, timeZone: row.time_zone, tasks },
        length: row.tasks.length,
      };
      // Somebody else may have read it while we did.
      if (!this.#known.delete(key)) this.#length += entry.length;
    }
    this.#known.set(key, entry);
    while (this.#length > CACHED_LENGTH_MAX && this.#known.size > 1) {
      const [oldest, { length }] = this.#known.entries().next().value!;
      this.#known.delete(oldest);
      this.#length -= length;
    }
    return entry.version;
  }
}
