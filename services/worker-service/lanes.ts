import {
  type Database,
  isDatabaseUnavailable,
  isStatementTimeout,
  type LanedTimer,
  type LaneKey,
  type LaneWish,
  listTimerLanes,
  readLaneWishes,
  readLimits,
  type StartedTimer,
  startInLanes,
  startLanedTimers,
  type TimerVersion,
  type WorkflowVersions,
  wakeLanes,
} from '@punctual/database';
import { type Action, TIMEOUT_MS_DEFAULT } from '@punctual/domain';
import { Batcher } from '@punctual/runtime';
import type { WorkerMetrics } from './metrics.ts';

export interface LanesOptions {
  database: Database;
  workflowVersions: WorkflowVersions;
  leaseMarginMs: number;
  /** Scheme, host and port of a URL as the target knows them. */
  readOrigin: (url: string) => string;
  /** Told when those who wait could not be woken: a scheduler does it then. */
  onError: (error: unknown) => void;
  metrics: WorkerMetrics;
}

/** What became of hints whose timers need places. */
export interface LaneStarts {
  started: StartedTimer[];
  /** Of those that are due and did not start: they are parked, or somebody else has them at this moment. */
  waiting: number;
}

/** Hints of one chunk whose timers need places. */
interface PendingStart {
  wishes: readonly LaneWish[];
  resolve: (started: StartedTimer[]) => void;
  reject: (error: unknown) => void;
}

/**
 * Timers that ask for places together, and transactions that do at once: many chunks may want one lane, whose lock one of them
 * has, and each that waits for it has a connection that the starts of all others need.
 */
const STARTS_PER_TRANSACTION_MAX = 256;
const QUICK_STARTS_MAX = 1;
const STARTS_MAX = 2;
/** Timers whose lanes are looked at together after their outcomes. */
const WAKES_PER_STATEMENT_MAX = 500;
const QUICK_WAKES_MAX = 1;
const WAKES_MAX = 2;

/**
 * Starts timers that need places in lanes, and wakes those who wait there when outcomes that were written here give places back.
 * A place is a running timer in the database, so none is lost with a worker. Killed between an outcome and the wake, it
 * leaves lanes to the schedulers, which look at them within seconds.
 */
export class Lanes {
  readonly #options: LanesOptions;
  readonly #starts: Batcher<PendingStart>;
  readonly #wakes: Batcher<LaneKey>;
  /** The lanes of timers that were started here, until their outcomes are written. */
  readonly #held = new Map<string, readonly LaneKey[]>();

  constructor(options: LanesOptions) {
    this.#options = options;
    this.#starts = new Batcher({
      run: (parts) => this.#startParts(parts),
      windowMs: 0,
      weigh: ({ wishes }) => wishes.length,
      weightMax: STARTS_PER_TRANSACTION_MAX,
      quickMax: QUICK_STARTS_MAX,
      batchesMax: STARTS_MAX,
    });
    this.#wakes = new Batcher({
      run: (lanes) => this.#wake(lanes),
      windowMs: 0,
      weigh: () => 1,
      weightMax: WAKES_PER_STATEMENT_MAX,
      quickMax: QUICK_WAKES_MAX,
      batchesMax: WAKES_MAX,
    });
  }

  /** Starts, of hints that did not start without, those whose lanes have places for them. */
  async start(hints: readonly TimerVersion[]): Promise<LaneStarts> {
    const { database, metrics } = this.#options;
    const wishes = await readLaneWishes(database.hot, hints);
    if (wishes.length === 0) return { started: [], waiting: 0 };
    const started = await new Promise<StartedTimer[]>((resolve, reject) => {
      this.#starts.add({ wishes, resolve, reject });
    });
    metrics.laneWaits.inc(wishes.length - started.length);
    return { started, waiting: wishes.length - started.length };
  }

  async #startParts(parts: readonly PendingStart[]): Promise<void> {
    // Two chunks may name one timer: the later knows its version better.
    const wishes = new Map(parts.flatMap((part) => part.wishes).map((wish) => [wish.id, wish]));
    let started: StartedTimer[];
    try {
      started = await this.#startWishes([...wishes.values()]);
    } catch (error) {
      const isOfOnePart = !isDatabaseUnavailable(error) || isStatementTimeout(error);
      if (parts.length > 1 && isOfOnePart) for (const part of parts) await this.#startParts([part]);
      else for (const { reject } of parts) reject(error);
      return;
    }
    const left = new Map(started.map((timer) => [timer.id, timer]));
    for (const part of parts) {
      const own = part.wishes.flatMap(({ id }) => left.get(id) ?? []);
      for (const { id } of own) left.delete(id);
      part.resolve(own);
    }
  }

  async #startWishes(wishes: readonly LaneWish[]): Promise<StartedTimer[]> {
    const { database, leaseMarginMs } = this.#options;
    const limits = await readLimits(database.hot, [...new Set(wishes.map(({ tenantId }) => tenantId))]);
    const asksOrigin = limits.some(({ kind }) => kind === 'origin');
    const timers: LanedTimer[] = [];
    for (const wish of wishes) {
      const origin = asksOrigin ? await this.#findOrigin(wish) : undefined;
      timers.push({ ...wish, lanes: listTimerLanes({ ...wish, origin }, limits) });
    }
    // The start has to be on the disk before anybody else can think that the lane is free: after a crash that undid it, its
    // request might still be under way beside that of the next.
    const started = await startInLanes(database.hot, timers, (client, chosen) =>
      startLanedTimers(client, chosen, TIMEOUT_MS_DEFAULT, leaseMarginMs),
    );
    const lanesById = new Map(
      timers.map(({ id, tenantId, lanes }) => [id, lanes.map(({ name }) => ({ tenantId, name }))]),
    );
    for (const { id } of started) this.#held.set(id, lanesById.get(id)!);
    return started;
  }

  /** The outcomes of these timers are written: what places they had are given back. */
  release(ids: readonly string[]): void {
    if (this.#held.size === 0) return;
    for (const id of ids) {
      const lanes = this.#held.get(id);
      if (!lanes) continue;
      this.#held.delete(id);
      this.#wakes.add(...lanes);
    }
  }

  /** Resolves when all who could be woken so far are. */
  flush(): Promise<void> {
    return this.#wakes.flush();
  }

  /** Of the endpoint that a timer calls; undefined when it calls none. Expressions have no part in it. */
  async #findOrigin({ action, workflowId, workflowVersion, taskKey }: LaneWish): Promise<string | undefined> {
    const { database, workflowVersions, readOrigin } = this.#options;
    if (action !== null) return readOriginOf(JSON.parse(action) as Action, readOrigin);
    if (workflowId === null || workflowVersion === null) return undefined;
    const { tasks } = await workflowVersions.read(database.hot, workflowId, workflowVersion);
    const task = tasks.find(({ key }) => key === taskKey);
    return task && readOriginOf(task.action, readOrigin);
  }

  async #wake(lanes: readonly LaneKey[]): Promise<void> {
    const distinct = new Map(lanes.map((lane) => [`${lane.tenantId} ${lane.name}`, lane]));
    try {
      await wakeLanes(this.#options.database.hot, [...distinct.values()]);
    } catch (error) {
      this.#options.onError(error);
    }
  }
}

function readOriginOf(action: Action, readOrigin: (url: string) => string): string | undefined {
  return action.type === 'http' ? readOrigin(action.url) : undefined;
}
