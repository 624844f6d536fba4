import {
  describeFlow,
  type StartedTimer,
  type StoredTask,
  type TaskFlow,
  type WorkflowVersion,
} from '@punctual/database';
import {
  type Action,
  type ActionMethod,
  type ActionTemplate,
  compileAction,
  completeRetryPolicy,
  type ExpressionValues,
  formatInstant,
  isBodyless,
  type Keyring,
  openAction,
  type PartialRetryPolicy,
  planRun,
  type RetryPolicy,
  SEALED_PREFIX,
  type SystemAction,
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
  | { type: 'noop'; durationMs: number; output: string | undefined }
  | { type: 'pull'; queue: string }
  | SystemAction;

export interface PreparedTimer {
  /** With templates: as it was written, to be rendered by `template` first. */
  action: PreparedAction;
  template: ActionTemplate | undefined;
  /** Of a run's task that others depend on for more than its end, or that depends on them. */
  flow: TaskFlow | undefined;
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
  readonly #taskActions = new WeakMap<StoredTask, PreparedTask>();

  constructor(keyring: Keyring, readOrigin: (url: string) => string) {
    this.#keyring = keyring;
    this.#readOrigin = readOrigin;
  }

  /**
   * `version` is the workflow version of a run's timer. Throws when a timer has neither an action of its own nor a task
   * of that version, which no code path stores, and UnreadableSecretError when a secret in it can not be decrypted.
   */
  prepare(timer: StartedTimer, version: WorkflowVersion | undefined): PreparedTimer {
    const index = version ? (planRun(version.tasks).indexByKey.get(timer.task_key ?? '') ?? -1) : -1;
    const task = version?.tasks[index];
    const ownRetry = timer.retry === null ? undefined : (JSON.parse(timer.retry) as PartialRetryPolicy);
    // An action that was changed for this timer is sent as it is written.
    const { action, template } =
      timer.action === null
        ? this.#prepareTask(task, version, timer.tenant_id)
        : { action: this.#prepareText(timer.action, timer.tenant_id), template: undefined };
    return {
      action,
      template,
      flow: task && describeFlow(version!, index, template, isOwnDescription(action)),
      retry: completeRetryPolicy(ownRetry ?? task?.retry),
      timeoutMs: timer.timeout_ms ?? task?.timeoutMs ?? TIMEOUT_MS_DEFAULT,
    };
  }

  #prepareText(text: string, tenantId: string): PreparedAction {
    const known = this.#actions.get(text);
    if (known) return known;
    if (text.includes(SEALED_PREFIX)) return this.#prepareSealed(text, tenantId);
    return this.#remember(text, this.#prepareAction(JSON.parse(text) as Action | SystemAction));
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

  /** The action of one instance of a task. Throws ExpressionError. */
  render(template: ActionTemplate, values: ExpressionValues): PreparedAction {
    return this.#prepareAction(template.render(values));
  }

  // A workflow belongs to one tenant, and its versions are read by their ids.
  #prepareTask(task: StoredTask | undefined, version: WorkflowVersion | undefined, tenantId: string): PreparedTask {
    if (!task || !version) throw new Error('the timer has no action, and its workflow no such task');
    let prepared = this.#taskActions.get(task);
    if (!prepared) {
      const action = openAction(task.action, tenantId, this.#keyring);
      const plan = planRun(version.tasks);
      const hasItem = plan.scopeOf[plan.indexByKey.get(task.key)!] !== 0;
      const template = task.hasTemplates
        ? compileAction(action, hasItem, task.delay?.type === 'signal').template
        : undefined;
      prepared = { action: this.#prepareAction(action), template };
      this.#taskActions.set(task, prepared);
    }
    return prepared;
  }

  #prepareAction(action: Action | SystemAction): PreparedAction {
    if (action.type === 'noop') {
      const output = action.output === undefined ? undefined : JSON.stringify(action.output);
      return { type: 'noop', durationMs: action.durationMs ?? 0, output };
    }
    if (action.type === 'pull' || action.type === 'system') return action;
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

interface PreparedTask {
  action: PreparedAction;
  template: ActionTemplate | undefined;
}

function isOwnDescription(action: PreparedAction): boolean {
  return action.type === 'http' && action.body === undefined && !isBodyless(action.method);
}

function measure(name: string, prepared: PreparedAction): number {
  return name.length + (prepared.type === 'http' ? (prepared.body?.length ?? 0) : 0);
}

/**
 * The body of a request whose action has none: what the timer is, as JSON. `payload` and `input` stand as they were stored; the
 * payload of a task that waited for a signal is that of the signal, unless the timer was given another.
 * `values`: what the flow of its run gives it.
 */
export function describeTimer(timer: StartedTimer, values?: ExpressionValues): string {
  const { id, attempt, signal, input } = timer;
  const payload = timer.payload ?? signal;
  const isLate = timer.waits_for === null ? '' : ',"timedOut":true';
  const runId = timer.run_id === null ? 'null' : `"${timer.run_id}"`;
  const workflowId = timer.workflow_id === null ? 'null' : `"${timer.workflow_id}"`;
  const taskKey = timer.task_key === null ? 'null' : JSON.stringify(timer.task_key);
  const dueAt = formatInstant(timer.due_at);
  return `{"timerId":"${id}","runId":${runId},"workflowId":${workflowId},"taskKey":${taskKey},"attempt":${attempt},"dueAt":"${dueAt}","payload":${payload ?? 'null'},"input":${input ?? 'null'}${isLate}${describeValues(values)}}`;
}

function describeValues(values: ExpressionValues | undefined): string {
  if (!values) return '';
  const { item, index, inputs } = values;
  const ofElement = index === undefined ? '' : `,"item":${JSON.stringify(item ?? null)},"index":${index}`;
  return Object.keys(inputs).length === 0 ? ofElement : `${ofElement},"inputs":${JSON.stringify(inputs)}`;
}
