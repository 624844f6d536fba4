import {
  type Database,
  inTransaction,
  type TimerVersion,
  turnSchedule,
  type WorkflowVersions,
} from '@punctual/database';
import type { WorkerMetrics } from '../metrics.ts';
import type { SystemTurn } from './system-target.ts';

export interface ScheduleWorkerOptions {
  database: Database;
  workflowVersions: WorkflowVersions;
  partitionCount: number;
  metrics: WorkerMetrics;
}

/** Turns of one worker at once, each with a connection for some milliseconds. The others wait in line. */
const TURNS_MAX = 3;
/**
 * Turns of one tenant that wait in line, each with one of the worker's places. Thousands of schedules may occur at nine o'clock: the
 * others are put off until about when these are done, so that what else is due finds places.
 */
const WAITING_PER_TENANT_MAX = 64;
/** How long a turn takes until some were made (ms), and how much of each that is made goes into the mean. */
const TURN_MS_FIRST = 10;
const TURN_SHARE = 0.1;
/** Within these a turn is put off (ms). */
const PUT_OFF_MS_MIN = 100;
const PUT_OFF_MS_MAX = 30_000;

/** Turns of one tenant that wait. */
interface Line {
  waiting: (() => void)[];
  /** Until when those that were put off so far will be at it (`performance.now()`). */
  takenUntil: number;
}

/**
 * Begins the occurrences of recurring schedules: a turn is one transaction, which moves the schedule's timer as well, so that a
 * crash at whatever moment leaves it undone or done. The tenants whose turns wait have theirs one after the other.
 */
export class ScheduleWorker {
  readonly #options: ScheduleWorkerOptions;
  /** Of tenants of which some wait, or were put off and are not due again; the next to be served stands first. */
  readonly #lines = new Map<string, Line>();
  #turns = 0;
  #turnMs = TURN_MS_FIRST;

  constructor(options: ScheduleWorkerOptions) {
    this.#options = options;
  }

  /** The turn of a schedule's timer. Rejects when Postgres is away; then it is tried again. */
  async run(id: string, timer: TimerVersion, tenantId = ''): Promise<SystemTurn> {
    if (this.#turns >= TURNS_MAX) {
      const line = this.#lines.getOrInsertComputed(tenantId, () => ({ waiting: [], takenUntil: 0 }));
      if (line.waiting.length >= WAITING_PER_TENANT_MAX) return { againInMs: this.#putOff(line) };
      await new Promise<void>((resolve) => line.waiting.push(resolve));
    } else this.#turns += 1;
    const beganAt = performance.now();
    try {
      return await this.#turn(id, timer);
    } finally {
      this.#turnMs += (performance.now() - beganAt - this.#turnMs) * TURN_SHARE;
      const next = this.#takeNext();
      if (next) next();
      else this.#turns -= 1;
    }
  }

  // One after the other, in the pace at which turns are made.
  #putOff(line: Line): number {
    const now = performance.now();
    const everyMs = this.#turnMs / TURNS_MAX;
    line.takenUntil = Math.max(line.takenUntil, now + line.waiting.length * everyMs) + everyMs;
    return Math.ceil(Math.min(Math.max(line.takenUntil - now, PUT_OFF_MS_MIN), PUT_OFF_MS_MAX));
  }

  #takeNext(): (() => void) | undefined {
    for (const [tenantId, line] of [...this.#lines]) {
      this.#lines.delete(tenantId);
      const next = line.waiting.shift();
      if (next || line.takenUntil > performance.now()) this.#lines.set(tenantId, line);
      if (next) return next;
    }
    return undefined;
  }

  async #turn(id: string, timer: TimerVersion): Promise<SystemTurn> {
    const { database, workflowVersions, partitionCount, metrics } = this.#options;
    const beganAt = performance.now();
    // failpoint: worker.scheduling
    const turn = await inTransaction(database.hot, (client) =>
      turnSchedule(client, workflowVersions, id, timer, partitionCount),
    );
    // failpoint: worker.scheduled
    metrics.scheduleSeconds.observe((performance.now() - beganAt) / 1000);
    if (turn.kind === 'gone') return 'done';
    if (turn.kind === 'early') return { againInMs: turn.againInMs };
    metrics.occurrences.inc(turn.begun);
    return 'moved';
  }
}
