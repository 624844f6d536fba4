import {
  type AttemptResult,
  type Database,
  decideOutcome,
  FlowReader,
  giveUpLost,
  giveUpUnsent,
  giveUpWaiting,
  hold,
  type Outcome,
  postpone,
  readRunAge,
  type StartedTimer,
  type WorkflowVersions,
} from '@punctual/database';
import {
  ExpressionError,
  type ExpressionValues,
  isBodyless,
  type Keyring,
  LOST_IN_A_ROW_MAX,
  SYSTEM_TENANT_ID,
  type SystemAction,
  UnreadableSecretError,
} from '@punctual/domain';
import { describeTrace, type Logger, limitRate, OUTAGE_LOG_INTERVAL_MS } from '@punctual/runtime';
import { type AttemptGates, type GateSubject, listGateKeys } from './gates.ts';
import type { WorkerMetrics } from './metrics.ts';
import { ActionPreparer, describeTimer, type PreparedAction, type PreparedTimer } from './prepared-action.ts';
import type { SigningSecrets } from './signing-secrets.ts';
import { StartChecks } from './start-checks.ts';
import type { SystemTarget } from './system/system-target.ts';
import type { SendingRight, UnsentAttempt } from './targets/http-attempt.ts';
import type { Contact } from './targets/http-outcome.ts';
import type { AttemptRequest, HttpTarget } from './targets/http-target.ts';
import { performNoop } from './targets/noop-target.ts';
import type { OriginCircuits } from './targets/origin-circuits.ts';
import type { OriginGate } from './targets/origin-gate.ts';
import { limitOutput, withoutOutput } from './task-output.ts';

export interface AttemptRunnerOptions {
  database: Database;
  workflowVersions: WorkflowVersions;
  secrets: SigningSecrets;
  /** Opens the secrets in actions. */
  keyring: Keyring;
  http: HttpTarget;
  gate: OriginGate;
  circuits: OriginCircuits;
  gates: AttemptGates;
  /** For the system's own timers. */
  system: SystemTarget;
  /** How long after its due time a timer is held back by a circuit; then its attempts are made whatever came of others' (ms). */
  circuitHoldMaxMs: number;
  /** Takes each timer's outcome, exactly once. */
  onOutcome: (outcome: Outcome) => void;
  metrics: WorkerMetrics;
  logger: Logger;
}

/**
 * An attempt that could not be sent within this time of its start (ms), because it waited for its origin or for a
 * connection, or the process stood still, is sent only when the start still stands. A start commits without waiting for the
 * disk, so a crash of Postgres may have undone it, and whoever cancelled or edited since was told that nothing had started.
 */
const SENT_UNCHECKED_MS = 100;
/** How long a timer is postponed that could not be sent because something of ours failed (ms). */
const OWN_FAULT_POSTPONE_MS = 1_000;
/**
 * How long a timer is postponed whose secrets can not be decrypted here (ms). Only a person can mend that, by giving this
 * worker its keys; meanwhile each timer of the tenant costs a start and a return in this time.
 */
const UNREADABLE_POSTPONE_MS = 30_000;

type HttpAction = Extract<PreparedAction, { type: 'http' }>;

/**
 * Performs one attempt of a timer that was started here. Whatever happens, exactly one outcome follows, unless the
 * process dies: then the lease ends, and the attempt is begun again under its number and with the same `webhook-id`.
 */
export class AttemptRunner {
  readonly #options: AttemptRunnerOptions;
  readonly #preparer: ActionPreparer;
  readonly #startChecks: StartChecks;
  readonly #flows: FlowReader;
  readonly #warnUnreadable: (error: UnreadableSecretError, timer: StartedTimer) => void;
  readonly #warnNotMade: (error: unknown, timer: StartedTimer) => void;

  constructor(options: AttemptRunnerOptions) {
    this.#options = options;
    this.#startChecks = new StartChecks(options.database);
    this.#flows = new FlowReader(options.database);
    this.#preparer = new ActionPreparer(options.keyring, (url) => options.http.readOrigin(url));
    this.#warnNotMade = limitRate(
      (error: unknown, timer: StartedTimer) =>
        options.logger.error(
          { err: error, timerId: timer.id, ...describeTrace(timer.traceparent) },
          'attempts could not be made; their timers are postponed',
        ),
      OUTAGE_LOG_INTERVAL_MS,
    );
    this.#warnUnreadable = limitRate(
      (error: UnreadableSecretError, timer: StartedTimer) =>
        options.logger.error(
          { err: error, timerId: timer.id, ...describeTrace(timer.traceparent) },
          'a secret can not be decrypted; its timers are postponed',
        ),
      OUTAGE_LOG_INTERVAL_MS,
    );
  }

  /** `startedAt`: the earliest that the start can have been made (`performance.now()`). Never rejects. */
  async run(timer: StartedTimer, startedAt: number): Promise<void> {
    const { database, gates, workflowVersions, onOutcome, metrics } = this.#options;
    // What the system has to do is done in the end, however many workers are lost meanwhile.
    if (timer.lost > LOST_IN_A_ROW_MAX && timer.tenant_id !== SYSTEM_TENANT_ID) {
      onOutcome(giveUpLost(timer));
      return;
    }
    // Begun again after its worker was lost, and its run cancelled meanwhile: giving it back ends it as cancelled.
    if (timer.run_status === 'cancelled') {
      onOutcome(postpone(timer, 0));
      return;
    }
    try {
      // Only a task of a run may have to wait for its workflow.
      let prepared = timer.workflow_id === null ? this.#preparer.prepare(timer, undefined) : await this.#prepare(timer);
      const { flow } = prepared;
      if (timer.waits_for !== null && (await this.#endWaiting(timer, prepared))) return;
      let values: ExpressionValues | undefined;
      if (flow) {
        const version = await workflowVersions.read(database.hot, timer.workflow_id!, timer.workflow_version!);
        const end = await this.#flows.findEnd(timer, version, flow);
        if (end) {
          onOutcome(end);
          return;
        }
        if (flow.needs) values = await this.#flows.read(timer, version, flow);
        if (prepared.template) prepared = { ...prepared, action: this.#preparer.render(prepared.template, values!) };
      }
      const subject = describeSubject(timer, prepared.action);
      // Begun again after its worker was lost, and its run paused meanwhile.
      if (timer.run_status === 'paused' || !(gates.mayBegin(subject) || (await this.#mayBeginNow(subject, timer)))) {
        this.#hold(timer, subject);
        return;
      }
      const result = await this.#perform(timer, { prepared, subject, startedAt, values });
      if (result === undefined) return;
      metrics.attemptSeconds.observe(result.durationMs / 1000);
      onOutcome(
        decideOutcome(timer, flow?.isKept ? limitOutput(result) : withoutOutput(result), prepared.retry, Math.random),
      );
    } catch (error) {
      if (error instanceof ExpressionError) {
        // Another attempt would find the same.
        onOutcome(giveUpUnsent(timer, error.message));
        return;
      }
      if (error instanceof UnreadableSecretError) {
        // Without its signature or its credentials the request would be refused, or worse, be taken for genuine without.
        metrics.secretsUnreadable.inc();
        this.#warnUnreadable(error, timer);
        onOutcome(postpone(timer, UNREADABLE_POSTPONE_MS));
        return;
      }
      // Not the endpoint's fault: nothing was sent, so the attempt does not count.
      this.#warnNotMade(error, timer);
      onOutcome(postpone(timer, OWN_FAULT_POSTPONE_MS));
    }
  }

  /** Of a timer whose signal did not come in time. True: it is not to be tried, and its outcome is known. */
  async #endWaiting(timer: StartedTimer, prepared: PreparedTimer): Promise<boolean> {
    const { database, gates, workflowVersions, onOutcome, metrics } = this.#options;
    const version = await workflowVersions.read(database.hot, timer.workflow_id!, timer.workflow_version!);
    const end = giveUpWaiting(timer, version);
    if (!end) return false;
    const subject = describeSubject(timer, prepared.action);
    // What is paused does not time out.
    if (timer.run_status === 'paused' || !(gates.mayBegin(subject) || (await this.#mayBeginNow(subject, timer))))
      this.#hold(timer, subject);
    else {
      metrics.signalsTimedOut.inc();
      onOutcome(end);
    }
    return true;
  }

  async #prepare(timer: StartedTimer): Promise<PreparedTimer> {
    const { database, workflowVersions } = this.#options;
    const version = await workflowVersions.read(database.hot, timer.workflow_id!, timer.workflow_version!);
    return this.#preparer.prepare(timer, version);
  }

  /** Whether nothing holds it back after all, when what is known of the gates says that something may. */
  async #mayBeginNow(subject: GateSubject, timer: StartedTimer): Promise<boolean> {
    const { gates, database } = this.#options;
    await gates.refresh();
    if (gates.needsRunAge(subject) && timer.run_id !== null)
      subject.runCreatedAt = await readRunAge(database.hot, timer.run_id);
    return gates.mayBegin(subject);
  }

  // Undefined: postponed, or held back.
  #perform(timer: StartedTimer, attempt: Attempt): Promise<AttemptResult | undefined> {
    const { prepared, startedAt } = attempt;
    const { action } = prepared;
    switch (action.type) {
      case 'http':
        return this.#performHttp(timer, action, attempt);
      case 'noop':
        this.#observeLateness(timer, startedAt);
        // Without an output of its own it passes on the signal that it waited for.
        return performNoop(action.durationMs, prepared.timeoutMs, action.output ?? timer.signal ?? undefined);
      case 'system':
        return this.#performSystem(timer, action);
      case 'pull':
        // Schedulers do not dispatch these. One that is here all the same, because it was stored without its queue, is nothing
        // that we can do.
        return Promise.resolve({
          outcome: 'permanent',
          error: 'the timer is for workers that lease tasks, and was given to one that does not',
          durationMs: 0,
        });
    }
  }

  async #performSystem(timer: StartedTimer, action: SystemAction): Promise<AttemptResult | undefined> {
    const { system, onOutcome } = this.#options;
    const beganAt = performance.now();
    const turn = await system.perform(action, timer);
    if (turn === 'moved') {
      onOutcome({ kind: 'settled', runId: null, id: timer.id });
      return undefined;
    }
    if (turn === 'done') return { outcome: 'succeeded', durationMs: performance.now() - beganAt };
    onOutcome(postpone(timer, turn.againInMs));
    return undefined;
  }

  async #performHttp(timer: StartedTimer, action: HttpAction, attempt: Attempt): Promise<AttemptResult | undefined> {
    const { subject, startedAt } = attempt;
    const { http, gate, gates, circuits, circuitHoldMaxMs, secrets } = this.#options;
    let signingSecrets = secrets.peek(timer.tenant_id) ?? (await secrets.read(timer.tenant_id));
    const mayBeHeld = timer.started_at - timer.due_at < circuitHoldMaxMs;
    if (mayBeHeld && circuits.mustWait(timer.tenant_id, action.origin)) return this.#holdBack(timer, action.origin);
    const entry = gate.enter(action.origin);
    if ((typeof entry === 'string' ? entry : await entry) === 'full') {
      return this.#giveBack(timer, gate.suggestPostponeMs(action.origin));
    }
    const enteredAt = performance.now();
    let goodUntil: number | undefined = startedAt + SENT_UNCHECKED_MS;
    let isSent = false;
    try {
      if (enteredAt > goodUntil) {
        // It may have waited for longer than secrets are good. They come first, because they may have to be waited for too.
        signingSecrets = secrets.peek(timer.tenant_id) ?? (await secrets.read(timer.tenant_id));
        goodUntil = await this.#startChecks.check(timer);
        // Its outcome is void: whatever became of it is in the database.
        if (goodUntil === undefined) return this.#giveBack(timer, 0);
      }
      // Asked again: the circuit may have opened while this one waited for its slot.
      const admission = mayBeHeld ? circuits.admit(timer.tenant_id, action.origin) : 'passed';
      if (admission === 'wait') return this.#holdBack(timer, action.origin);
      isSent = true;
      this.#observeLateness(timer, startedAt);
      let contact: Contact = 'unknown';
      try {
        const mayBegin = () => gates.mayBegin(subject);
        const right = { mayBegin, goodUntil, ask: () => this.#startChecks.check(timer) };
        const result = await http.perform(describeRequest(timer, action, signingSecrets, right, attempt));
        contact = result.contact;
        if (result.outcome !== 'unsent') return result;
        isSent = false;
        return this.#takeBack(timer, subject, result);
      } finally {
        circuits.report(timer.tenant_id, action.origin, contact, admission);
      }
    } finally {
      gate.leave(action.origin, isSent ? performance.now() - enteredAt : undefined);
    }
  }

  #takeBack(timer: StartedTimer, subject: GateSubject, { cause, error }: UnsentAttempt): undefined {
    if (cause === 'held') return this.#hold(timer, subject);
    if (cause === 'void') return this.#giveBack(timer, 0);
    if (cause === 'noRoom') return this.#giveBack(timer, this.#options.gate.suggestPostponeMs(subject.origin!));
    this.#warnNotMade(new Error(error ?? cause), timer);
    this.#options.onOutcome(postpone(timer, OWN_FAULT_POSTPONE_MS));
  }

  #hold(timer: StartedTimer, subject: GateSubject): undefined {
    this.#options.onOutcome(hold(timer, listGateKeys(subject)));
  }

  #giveBack(timer: StartedTimer, waitMs: number): undefined {
    this.#options.metrics.timersPostponed.inc();
    this.#options.onOutcome(postpone(timer, waitMs));
  }

  #holdBack(timer: StartedTimer, origin: string): undefined {
    const { circuits, metrics, onOutcome } = this.#options;
    metrics.timersHeldByCircuit.inc();
    onOutcome(postpone(timer, circuits.suggestPostponeMs(timer.tenant_id, origin)));
  }

  #observeLateness(timer: StartedTimer, startedAt: number): void {
    const sinceStartMs = performance.now() - startedAt;
    this.#options.metrics.latenessSeconds.observe((timer.started_at - timer.wake_at + sinceStartMs) / 1000);
  }
}

/** What an attempt needs besides its timer. */
interface Attempt {
  prepared: PreparedTimer;
  subject: GateSubject;
  /** See `run`. */
  startedAt: number;
  /** What the flow of its run gives it. */
  values: ExpressionValues | undefined;
}

function describeSubject(timer: StartedTimer, action: PreparedAction): GateSubject {
  return {
    tenantId: timer.tenant_id,
    workflowId: timer.workflow_id,
    ...(action.type === 'http' && { origin: action.origin }),
    ...(action.type === 'pull' && { queue: action.queue }),
  };
}

function describeRequest(
  timer: StartedTimer,
  action: HttpAction,
  signingSecrets: readonly string[],
  right: SendingRight,
  { prepared: { timeoutMs, flow }, values }: Attempt,
): AttemptRequest {
  return {
    url: action.url,
    method: action.method,
    headers: action.headers,
    body: isBodyless(action.method) ? undefined : (action.body ?? describeTimer(timer, values)),
    timeoutMs,
    keepsOutput: flow?.isKept ?? false,
    timerId: timer.id,
    attempt: timer.attempt,
    dueAt: timer.due_at,
    signingSecrets,
    traceparent: timer.traceparent,
    right,
  };
}
