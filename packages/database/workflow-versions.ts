import type { Action, Concurrency, FlowTask, PartialRetryPolicy, TaskDelay } from '@punctual/domain';
import type { Queryable } from './connect.ts';
import { nameStatement } from './statement.ts';

/** A task as its workflow version stores it. */
export interface StoredTask extends FlowTask {
  after?: string[];
  delay?: TaskDelay;
  action: Action;
  retry?: PartialRetryPolicy;
  timeoutMs?: number;
  /** Its key may be a template. */
  concurrency?: Concurrency;
  /** Absent: that of the workflow. */
  priority?: number;
  /** Its action has templates. Unset by versions that knew none: what looks like one there is plain text. */
  hasTemplates?: boolean;
}

export interface WorkflowVersion {
  workflowId: string;
  version: number;
  name: string;
  timeZone: string;
  tasks: StoredTask[];
  /** Of tasks that have none of their own; null: none. */
  priority: number | null;
}

const selectVersion = nameStatement<{
  name: string;
  time_zone: string;
  tasks: string;
  priority: number | null;
}>(
  'read_workflow_version',
  'SELECT name, time_zone, tasks, priority FROM workflow_versions WHERE workflow_id = $1 AND version = $2',
);

/**
 * Memory that the versions kept may take, with what is made of them (bytes, about). Most versions take a thousand or two; one at
 * most some 100 MB. The one that waited longest unused leaves.
 */
const CACHED_BYTES_MAX = 64_000_000;
/** Of a task as it is parsed from JSON, for each character. */
const BYTES_PER_CHARACTER = 2;
/**
 * What an expression takes once it is compiled, and what each of its characters adds: 2,800 bytes with 38 characters, 58,800 with
 * 576 (Node 26).
 */
const BYTES_PER_EXPRESSION = 3_000;
const BYTES_PER_EXPRESSION_CHARACTER = 100;
const EXPRESSION = /\{\{.*?\}\}/gs;

/** What a version takes in memory (bytes, about). `text`: its tasks as JSON. */
export function weighVersion(text: string, tasks: readonly StoredTask[]): number {
  const expressions = tasks.flatMap(({ action, when, hasTemplates }) => [
    ...(hasTemplates ? [...JSON.stringify(action).matchAll(EXPRESSION)].map(([found]) => found.length) : []),
    ...(when === undefined ? [] : [when.length]),
  ]);
  return expressions.reduce(
    (sum, length) => sum + BYTES_PER_EXPRESSION + length * BYTES_PER_EXPRESSION_CHARACTER,
    text.length * BYTES_PER_CHARACTER,
  );
}

/** Workflow versions by id and number. They never change, so what was read once is good for ever. */
export class WorkflowVersions {
  readonly #known = new Map<string, { version: WorkflowVersion; bytes: number }>();
  #bytes = 0;

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
        version: { workflowId, version, name: row.name, timeZone: row.time_zone, tasks, priority: row.priority },
        bytes: weighVersion(row.tasks, tasks),
      };
      // Somebody else may have read it while we did.
      if (!this.#known.delete(key)) this.#bytes += entry.bytes;
    }
    this.#known.set(key, entry);
    while (this.#bytes > CACHED_BYTES_MAX && this.#known.size > 1) {
      const [oldest, { bytes }] = this.#known.entries().next().value!;
      this.#known.delete(oldest);
      this.#bytes -= bytes;
    }
    return entry.version;
  }
}
