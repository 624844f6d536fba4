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
 * Begins the occurrences of recurring schedules: a turn is one transaction, which moves the schedule's timer as well, so that a
 * crash at whatever moment leaves it undone or done.
 */
export class ScheduleWorker {
  readonly #options: ScheduleWorkerOptions;
  /** As many as the worker has attempts under way, at most. */
  readonly #line: (() => void)[] = [];
  #turns = 0;

  constructor(options: ScheduleWorkerOptions) {
    this.#options = options;
  }

  /** The turn of a schedule's timer. Rejects when Postgres is away; then it is tried again. */
  async run(id: string, timer: TimerVersion): Promise<SystemTurn> {
    if (this.#turns >= TURNS_MAX) await new Promise<void>((resolve) => this.#line.push(resolve));
    else this.#turns += 1;
    try {
      return await this.#turn(id, timer);
    } finally {
      const next = this.#line.shift();
      if (next) next();
      else this.#turns -= 1;
    }
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
