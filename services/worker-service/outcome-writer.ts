import {
  admitOutputs,
  type Database,
  describeEnd,
  endRunTimers,
  type FinishedAttempt,
  finishAndCountTimers,
  finishTimers,
  type GatedTimer,
  holdTimers,
  isDatabaseUnavailable,
  isStatementTimeout,
  type Outcome,
  postponeTimers,
  type RescheduledAttempt,
  type ReturningTimer,
  retryTimers,
  returnRunTimers,
  type StartedTimer,
  VERSION_STARTED_AT_ONCE,
  type WorkflowVersions,
} from '@punctual/database';
import { TIMEOUT_MS_DEFAULT } from '@punctual/domain';
import { Batcher, type Logger, limitRate, OUTAGE_LOG_INTERVAL_MS } from '@punctual/runtime';
import type { WorkerMetrics } from './metrics.ts';

export interface OutcomeWriterOptions {
  database: Database;
  workflowVersions: WorkflowVersions;
  /** Outcomes within it are written together (ms). */
  windowMs: number;
  leaseMarginMs: number;
  /** Keeps places for tasks that the outcomes of the timers `leaving` unlock: as many as it returns, of so many. */
  reservePlaces: (wanted: number, leaving: readonly string[]) => number;
  /** Begins the attempts of tasks that were started, at that time or later, with the outcome that unlocked them; gives the places back. */
  onStarted: (timers: readonly StartedTimer[], startedAt: number, places: number) => void;
  /** Told, once each, of timers whose outcomes need no more care: written, or void. */
  onWritten: (ids: readonly string[]) => void;
  /** How long a timer waits that was held back here, and that nothing holds back in the database (ms). */
  freePauseMs: () => number;
  metrics: WorkerMetrics;
  logger: Logger;
}

/** Outcomes in one write, and so of runs in one transaction; more wait for the next. */
const BATCH_MAX = 500;
/** Tasks that the outcomes of one transaction may start here beyond one each; of a larger fan-out all workers get a part. */
const FAN_OUT_MAX = 64;
/** Writes under way at once that do not wait for somebody's lock, and all of them. */
const QUICK_WRITES_MAX = 2;
const WRITES_MAX = 4;
/** Between two tries while Postgres is away (ms). */
const RETRY_PAUSE_MS = 200;
/** Tries of a write that fails although Postgres is there. Then its leases end, and the attempts are begun again. */
const FAULTY_TRIES_MAX = 3;

/**
 * Writes outcomes to the database, many at a time, and keeps those that it could not write until it can: while it
 * holds them their leases may end and others may begin the attempts again; then they are void, which is harmless.
 * A write that is repeated because nobody knows whether it took effect changes nothing the second time; tasks that it may
 * have started are given back to the schedulers.
 * Killed, it leaves timers whose leases end and which are begun again.
 */
export class OutcomeWriter {
  readonly #options: OutcomeWriterOptions;
  readonly #batcher: Batcher<Outcome>;
  readonly #warnSeldom: (error: unknown, outcomes: number) => void;
  readonly #warnRefused: (error: unknown, timerId: string) => void;

  constructor(options: OutcomeWriterOptions) {
    this.#options = options;
    this.#warnSeldom = limitRate(
      (error: unknown, outcomes: number) =>
        options.logger.warn({ err: error, outcomes }, 'could not write outcomes; trying again'),
      OUTAGE_LOG_INTERVAL_MS,
    );
    this.#warnRefused = limitRate(
      (error: unknown, timerId: string) =>
        options.logger.error(
          { err: error, timerId },
          'outcomes could not be stored as they are; trying without what the endpoint said',
        ),
      OUTAGE_LOG_INTERVAL_MS,
    );
    this.#batcher = new Batcher({
      run: (batch) => this.#writeBatch(batch),
      windowMs: options.windowMs,
      weigh: () => 1,
      weightMax: BATCH_MAX,
      quickMax: QUICK_WRITES_MAX,
      batchesMax: WRITES_MAX,
    });
  }

  add(outcome: Outcome): void {
    this.#batcher.add(outcome);
  }

  /** Resolves when everything added so far is written. */
  flush(): Promise<void> {
    return this.#batcher.flush();
  }

  // The kinds touch different rows and different tables; each is a transaction of its own.
  async #writeBatch(batch: readonly Outcome[]): Promise<void> {
    const { database, workflowVersions, metrics, onWritten } = this.#options;
    this.#countAttempts(batch);
    const single: FinishedAttempt[] = [];
    const ofRuns: RunOutcome[] = [];
    const retries: RescheduledAttempt[] = [];
    const postponed: { id: string; version: number; waitMs: number }[] = [];
    const returning: ReturningTimer[] = [];
    const held: GatedTimer[] = [];
    const unsure = new Map<string, string>();
    for (const outcome of batch) {
      const { runId } = outcome;
      if (outcome.kind === 'finished') {
        if (runId === null) single.push(outcome.record);
        else ofRuns.push({ id: outcome.record.id, runId, record: outcome.record, output: outcome.output });
      } else if (outcome.kind === 'retry') {
        const { id, version, waitMs } = outcome.record;
        if (runId === null) retries.push(outcome.record);
        else returning.push({ id, version, runId, waitMs, record: outcome.record });
      } else if (outcome.kind === 'held') {
        held.push(outcome);
      } else if (outcome.kind === 'settled') {
        onWritten([outcome.id]);
      } else {
        const { id, version, waitMs } = outcome;
        if (runId === null) postponed.push(outcome);
        else returning.push({ id, version, runId, waitMs, record: null });
      }
    }
    await Promise.all([
      this.#writeAll(single, async (records) => this.#addEnded(await finishAndCountTimers(database.hot, records))),
      this.#writeAll(ofRuns, (items) => this.#endTasks(items, unsure)),
      this.#writeAll(retries, async (records) => (await retryTimers(database.hot, records)).length),
      this.#writeAll(postponed, async (items) => (await postponeTimers(database.hot, items)).length),
      this.#writeAll(returning, async (timers) => {
        const { waiting, cancelled } = await returnRunTimers(database.hot, workflowVersions, timers);
        return waiting.length + this.#countEnded(cancelled.map(() => ({ state: 'cancelled' })));
      }),
      this.#writeAll(held, async (timers) => {
        const freePauseMs = this.#options.freePauseMs();
        const { parked, waiting, cancelled } = await holdTimers(database.hot, workflowVersions, timers, freePauseMs);
        metrics.timersHeld.inc(parked.length);
        return parked.length + waiting.length + this.#countEnded(cancelled.map(() => ({ state: 'cancelled' })));
      }),
    ]);
  }

  // `unsure`: tasks, with their runs, that earlier tries may have started although they failed. Nobody makes their
  // attempts, so they are given back first; those that were never stored match nothing.
  async #endTasks(items: readonly RunOutcome[], unsure: Map<string, string>): Promise<number> {
    const { database, workflowVersions, leaseMarginMs, reservePlaces, onStarted } = this.#options;
    await this.#giveBack(unsure);
    const places = reservePlaces(
      items.length + FAN_OUT_MAX,
      items.map(({ id }) => id),
    );
    let starting: readonly { id: string; runId: string }[] = [];
    let startedAt = 0;
    let started: StartedTimer[] = [];
    try {
      const result = await endRunTimers(
        database.hot,
        workflowVersions,
        items.map((item) => item.runId),
        async (client, runs) => {
          const admitted = await admitOutputs(client, workflowVersions, runs, items);
          const outputs = new Map(admitted.map(({ id, output }) => [id, output]));
          const ended = await finishTimers(
            client,
            admitted.map((item) => item.record),
          );
          return ended.map((timer) => describeEnd(timer, outputs));
        },
        {
          countMax: places,
          timeoutMsDefault: TIMEOUT_MS_DEFAULT,
          leaseMarginMs,
          onStarting: (tasks) => {
            starting = tasks;
            startedAt = performance.now();
          },
        },
      );
      started = result.started;
      // failpoint: worker.unlocked
      return this.#countEnded(result.ended);
    } catch (error) {
      for (const { id, runId } of starting) unsure.set(id, runId);
      throw error;
    } finally {
      onStarted(started, startedAt, places);
    }
  }

  async #giveBack(unsure: Map<string, string>): Promise<void> {
    if (unsure.size === 0) return;
    const { database, workflowVersions } = this.#options;
    const timers = [...unsure].map(([id, runId]) => ({
      id,
      runId,
      version: VERSION_STARTED_AT_ONCE,
      waitMs: 0,
      record: null,
    }));
    await returnRunTimers(database.hot, workflowVersions, timers);
    unsure.clear();
  }

  #countAttempts(batch: readonly Outcome[]): void {
    const counts = new Map<string, number>();
    for (const outcome of batch) {
      if (outcome.kind !== 'finished' && outcome.kind !== 'retry') continue;
      const name = outcome.record.outcome;
      if (name === null) continue;
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    for (const [outcome, count] of counts) this.#options.metrics.outcomes.inc({ outcome }, count);
  }

  #countEnded(ended: readonly { state: EndState | 'excluded' }[]): number {
    const counts: Partial<Record<EndState, number>> = {};
    for (const { state } of ended) {
      const status = state === 'excluded' ? 'skipped' : state;
      counts[status] = (counts[status] ?? 0) + 1;
    }
    return this.#addEnded(counts);
  }

  #addEnded(counts: Readonly<Partial<Record<EndState, number>>>): number {
    let ended = 0;
    for (const [status, count] of Object.entries(counts)) {
      if (count > 0) this.#options.metrics.timersEnded.inc({ status }, count);
      ended += count;
    }
    return ended;
  }

  // Tries again while Postgres is away. When data is refused or a lock is not had in time, halves the batch to find the
  // row. What has to be tried again goes behind the rest, so that a lock which somebody keeps holds up its own row only.
  async #writeAll<Item extends { id: string }>(
    items: readonly Item[],
    write: (items: readonly Item[]) => Promise<number>,
  ): Promise<void> {
    const portions: Portion<Item>[] = items.length === 0 ? [] : [{ items, faults: 0 }];
    for (let portion = portions.shift(); portion; portion = portions.shift()) {
      portions.push(...(await this.#writePortion(portion, write)));
    }
  }

  // Returns what is still to be written. A row whose data is refused is tried without its texts, and at last given up: its
  // lease ends, and it is begun again.
  async #writePortion<Item extends { id: string }>(
    { items, faults }: Portion<Item>,
    write: (items: readonly Item[]) => Promise<number>,
  ): Promise<Portion<Item>[]> {
    const { metrics, onWritten } = this.#options;
    const beganAt = performance.now();
    try {
      // failpoint: worker.writing
      const written = await write(faults > 0 ? items.map(withoutTexts) : items);
      // failpoint: worker.written
      metrics.outcomeSeconds.observe((performance.now() - beganAt) / 1000);
      metrics.outcomeBatchTimers.observe(items.length);
      if (written < items.length) metrics.outcomesVoid.inc(items.length - written);
      onWritten(items.map(({ id }) => id));
      return [];
    } catch (error) {
      metrics.outcomeWriteFailures.inc();
      const isRefused = !isDatabaseUnavailable(error);
      if (items.length > 1 && (isRefused || isStatementTimeout(error))) {
        const half = Math.ceil(items.length / 2);
        return [
          { items: items.slice(0, half), faults },
          { items: items.slice(half), faults },
        ];
      }
      if (isRefused) {
        for (const { id } of items) this.#warnRefused(error, id);
        if (faults + 1 >= FAULTY_TRIES_MAX) {
          metrics.outcomesAbandoned.inc(items.length);
          onWritten(items.map(({ id }) => id));
          return [];
        }
      } else {
        this.#warnSeldom(error, items.length);
      }
      // Whoever waited for a lock in vain has waited long enough.
      if (!isStatementTimeout(error)) await new Promise((resolve) => setTimeout(resolve, RETRY_PAUSE_MS));
      return [{ items, faults: isRefused ? faults + 1 : faults }];
    }
  }
}

/** How a timer ended, as the metric names it. */
type EndState = 'succeeded' | 'dead' | 'cancelled' | 'skipped';

/** The outcome of a task of a run. */
interface RunOutcome {
  id: string;
  runId: string;
  record: FinishedAttempt;
  /** What others need of it, JSON text. */
  output: string | undefined;
}

/** Outcomes of one write. `faults` counts the tries that Postgres refused. */
interface Portion<Item> {
  items: readonly Item[];
  faults: number;
}

// A task whose output others need has not succeeded without it: they would go on with nothing.
function withoutTexts<Item extends object>(item: Item): Item {
  if ('record' in item) {
    const record = item.record ? withoutTexts(item.record as object) : null;
    const isLost = 'output' in item && item.output !== undefined;
    return { ...item, output: undefined, record: isLost ? { ...record, state: 'dead', outcome: 'permanent' } : record };
  }
  return 'responseBody' in item
    ? { ...item, responseBody: null, error: 'what the endpoint said could not be stored' }
    : item;
}
