import { type Database, type Outcome, readTraces, type StartedTimer } from '@punctual/database';
import { Batcher, type OpenSpan, type Tracing } from '@punctual/runtime';

export interface TracesOptions {
  tracing: Tracing;
  database: Pick<Database, 'hot'>;
  /** Told of a look-up that failed: its timers are delivered untraced. */
  onError: (error: unknown) => void;
}

/** Timers of one question to the database. */
const TIMERS_PER_STATEMENT_MAX = 500;
const STATEMENTS_MAX = 4;

interface Question {
  /** Of the run, or of the timer without one. */
  id: string;
  resolve: (traceparent: string | undefined) => void;
}

/** What is open of a timer that was started here. */
interface OpenAttempt {
  attempt: OpenSpan;
  outcome: OpenSpan | undefined;
}

/**
 * The spans of a worker: `timer.start`, `timer.attempt` and `timer.outcome` of timers that were created in a traced request,
 * all of them children of the span that created the timer. The endpoint is told the attempt's (`traceparent`). Only where
 * traces are on: then each start is followed by one look-up, many timers at once, before the attempt.
 */
export class Traces {
  readonly #options: TracesOptions;
  readonly #questions: Batcher<Question>;
  /** By timer: as many as attempts under way that are traced. */
  readonly #open = new Map<string, OpenAttempt>();

  constructor(options: TracesOptions) {
    this.#options = options;
    this.#questions = new Batcher({
      run: (questions) => this.#ask(questions),
      windowMs: 0,
      weigh: () => 1,
      weightMax: TIMERS_PER_STATEMENT_MAX,
      quickMax: STATEMENTS_MAX,
      batchesMax: STATEMENTS_MAX,
    });
  }

  /** Hands on a timer that was started at `startedAt` (`performance.now()`), with the span of its attempt when it is traced. */
  async run(timer: StartedTimer, startedAt: number, run: (timer: StartedTimer) => Promise<void>): Promise<void> {
    const traceparent = await this.#beginAttempt(timer, startedAt);
    await run(traceparent === undefined ? timer : { ...timer, traceparent });
  }

  async #beginAttempt(timer: StartedTimer, startedAt: number): Promise<string | undefined> {
    const id = timer.run_id ?? timer.id;
    const parent = await new Promise<string | undefined>((resolve) => this.#questions.add({ id, resolve }));
    if (parent === undefined) return undefined;
    const { tracing } = this.#options;
    const attributes = {
      'punctual.timer.id': timer.id,
      'punctual.run.id': timer.run_id ?? undefined,
      'punctual.task.key': timer.task_key ?? undefined,
      'punctual.tenant.id': timer.tenant_id,
      'punctual.attempt': timer.attempt,
      'punctual.due_at': new Date(timer.due_at).toISOString(),
    };
    const begunAt = Date.now() - (performance.now() - startedAt);
    tracing.begin('timer.start', { kind: 'consumer', parent, attributes, startedAt: begunAt })?.end();
    const attempt = tracing.begin('timer.attempt', { kind: 'client', parent, attributes });
    if (!attempt) return undefined;
    this.#open.set(timer.id, { attempt, outcome: undefined });
    return attempt.traceparent;
  }

  /** The attempt is over; its outcome is to be written. */
  endAttempt(outcome: Outcome): void {
    if (this.#open.size === 0) return;
    const { id, ...told } = describeOutcome(outcome);
    const open = this.#open.get(id);
    if (!open) return;
    open.attempt.end(told);
    open.outcome = this.#options.tracing.begin('timer.outcome', { parent: open.attempt.traceparent });
  }

  /** The outcomes of these timers need no more care. */
  endOutcomes(ids: readonly string[]): void {
    if (this.#open.size === 0) return;
    for (const id of ids) {
      this.#open.get(id)?.outcome?.end();
      this.#open.delete(id);
    }
  }

  async #ask(questions: readonly Question[]): Promise<void> {
    let traces = new Map<string, string>();
    try {
      traces = await readTraces(this.#options.database.hot, [...new Set(questions.map(({ id }) => id))]);
    } catch (error) {
      this.#options.onError(error);
    }
    for (const { id, resolve } of questions) resolve(traces.get(id));
  }
}

function describeOutcome(outcome: Outcome) {
  if (outcome.kind !== 'finished' && outcome.kind !== 'retry') {
    return { id: outcome.id, attributes: { 'punctual.outcome': outcome.kind } };
  }
  const { id, outcome: name, httpStatus, error } = outcome.record;
  return {
    id,
    attributes: {
      'punctual.outcome': name ?? outcome.kind,
      ...(httpStatus != null && { 'http.response.status_code': httpStatus }),
    },
    ...(error != null && { error }),
  };
}
