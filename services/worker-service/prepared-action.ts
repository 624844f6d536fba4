import type { StartedTimer, StoredTask, WorkflowVersion } from '@punctual/database';
import {
  type Action,
  type ActionMethod,
  completeRetryPolicy,
  type Keyring,
  openAction,
  type PartialRetryPolicy,
  type RetryPolicy,
  SEALED_PREFIX,
  TIMEOUT_MS_DEFAULT,
} from '@punctual/domain';

/** What a timer does, ready to be done. */
export type PreparedAction =
  | {
      type: 'http';
      url: string;
      /** Scheme, host and port as the target knows them; empty where it would refuse the URL. */
      origin: string;
      method: ActionMethod;
      headers: Record<string, string> | undefined;
      /** The customer's own body, serialised; undefined: the timer's description is sent. */
      body: string | undefined;
    }
  | { type: 'noop'; durationMs: number }
  | { type: 'pull'; queue: string };

export interface PreparedTimer {
  action: PreparedAction;
  retry: RetryPolicy;
  timeoutMs: number;
}

/** Actions kept prepared, and the size of their texts and bodies (characters). Many timers share few actions, most of them small. */
export const PREPARED_MAX = 1_000;
export const PREPARED_LENGTH_MAX = 16_000_000;

/**
 * Parses actions and retry policies, once for all timers that share their text, and decrypts the secrets in them: nothing but
 * this process' memory ever holds those in plain text.
 */
export class ActionPreparer {
  readonly #keyring: Keyring;
  readonly #readOrigin: (url: string) => string;
  /**
   * By text, which begins with a brace; with sealed secrets by tenant and text: one tenant's secret must open for no other.
   * The one prepared first leaves first.
   */
  readonly #actions = new Map<string, PreparedAction>();
  #length = 0;
  readonly #taskActions = new WeakMap<StoredTask, PreparedAction>();

  constructor(keyring: Keyring, readOrigin: (url: string) => string) {
    this.#keyring = keyring;
    this.#readOrigin = readOrigin;
  }

  /**
   * `version` is the workflow version of a run's timer. Throws when a timer has neither an action of its own nor a task
   * of that version, which no code path stores, and UnreadableSecretError when a secret in it can not be decrypted.
   */
  prepare(timer: StartedTimer, version: WorkflowVersion | undefined): PreparedTimer {
    const task = version?.tasks.find((candidate) => candidate.key === timer.task_key);
    const ownRetry = timer.retry === null ? undefined : (JSON.parse(timer.retry) as PartialRetryPolicy);
    return {
      action:
        timer.action === null
          ? this.#prepareTask(task, timer.tenant_id)
          : this.#prepareText(timer.action, timer.tenant_id),
      retry: completeRetryPolicy(ownRetry ?? task?.retry),
      timeoutMs: timer.timeout_ms ?? task?.timeoutMs ?? TIMEOUT_MS_DEFAULT,
    };
  }

  #prepareText(text: string, tenantId: string): PreparedAction {
    const known = this.#actions.get(text);
    if (known) return known;
    if (text.includes(SEALED_PREFIX)) return this.#prepareSealed(text, tenantId);
    return this.#remember(text, this.#prepareAction(JSON.parse(text) as Action));
  }

  #prepareSealed(text: string, tenantId: string): PreparedAction {
    const name = `${tenantId} ${text}`;
    const known = this.#actions.get(name);
    if (known) return known;
    const action = openAction(JSON.parse(text) as Action, tenantId, this.#keyring);
    return this.#remember(name, this.#prepareAction(action));
  }

  #remember(name: string, prepared: PreparedAction): PreparedAction {
    this.#actions.set(name, prepared);
    this.#length += measure(name, prepared);
    while (this.#actions.size > PREPARED_MAX || this.#length > PREPARED_LENGTH_MAX) {
      const [oldest, left] = this.#actions.entries().next().value!;
      this.#actions.delete(oldest);
      this.#length -= measure(oldest, left);
    }
    return prepared;
  }

  // A workflow belongs to one tenant, and its versions are read by their ids.
  #prepareTask(task: StoredTask | undefined, tenantId: string): PreparedAction {
    if (!task) throw new Error('the timer has no action, and its workflow no such task');
    let prepared = this.#taskActions.get(task);
    if (!prepared) {
      prepared = this.#prepareAction(openAction(task.action, tenantId, this.#keyring));
      this.#taskActions.set(task, prepared);
    }
    return prepared;
  }

  #prepareAction(action: Action): PreparedAction {
    if (action.type === 'noop') return { type: 'noop', durationMs: action.durationMs ?? 0 };
    if (action.type === 'pull') return action;
    return {
      type: 'http',
      url: action.url,
      origin: this.#readOrigin(action.url),
      method: (action.method ?? 'POST') as ActionMethod,
      headers: action.headers,
      body: action.body === undefined ? undefined : JSON.stringify(action.body),
    };
  }
}

function measure(name: string, prepared: PreparedAction): number {
  return name.length + (prepared.type === 'http' ? (prepared.body?.length ?? 0) : 0);
}

/** The body of a request whose action has none: what the timer is, as JSON. `payload` and `input` stand as they were stored. */
export function describeTimer(timer: StartedTimer): string {
  const { id, attempt, payload, input } = timer;
  const runId = timer.run_id === null ? 'null' : `"${timer.run_id}"`;
  const workflowId = timer.workflow_id === null ? 'null' : `"${timer.workflow_id}"`;
  const taskKey = timer.task_key === null ? 'null' : JSON.stringify(timer.task_key);
  const dueAt = new Date(timer.due_at).toISOString();
  return `{"timerId":"${id}","runId":${runId},"workflowId":${workflowId},"taskKey":${taskKey},"attempt":${attempt},"dueAt":"${dueAt}","payload":${payload ?? 'null'},"input":${input ?? 'null'}}`;
}
