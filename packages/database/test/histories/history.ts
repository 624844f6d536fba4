import {
  FIRST_ID,
  foldLedger,
  type Queryable,
  type ReadFrom,
  readDueTimers,
  type TimerVersion,
} from '@punctual/database';
import type pg from 'pg';
import type { Actor } from './actor.ts';
import type { ControlledClock } from './controlled-clock.ts';
import * as operations from './operations.ts';
import type { Step } from './steps.ts';
import { compare, findDifferences } from './stored.ts';
import { isLive, type ModelTimer, mustBeRead } from './timer-model.ts';
import { Transactions } from './transactions.ts';

export interface HistoryParts {
  actors: readonly Actor[];
  /** For what needs no transaction: reads, the clock, and looks at the tables. */
  reader: Actor;
  control: pg.ClientBase;
  clock: ControlledClock;
  tenantId: string;
  nextId: () => string;
}

/** Partitions of the histories' timers: two, so that order within one and between two counts. */
const PARTITIONS = [0, 1];
/** Time-outs of timers, so that leases end within a history (ms). */
const TIMEOUTS_MS = [100, 1_000];
/** How far back a read begins that goes on from the last one, and how far a sweep stays behind (ms). */
const READ_BACK_MS = 60;
const SWEEP_BEHIND_MS = 20;
/** Rows of one read of a partition: more than a history has. */
const ROWS_MAX = 100;
/** Hints, and attempts, that are remembered; the oldest are forgotten. */
const REMEMBERED_MAX = 60;
/** Longer than any wait of a history (µs). */
const LONG_US = 3_600_000_000;

/**
 * One history: steps taken on several connections in an order that the steps decide, each compared with the model as it
 * is answered. Throws an error that tells the whole story.
 */
export class History {
  readonly #parts: HistoryParts;
  readonly #transactions: Transactions;
  readonly #hints: TimerVersion[] = [];
  readonly #attempts: operations.Started[] = [];
  readonly #log: string[] = [];
  #edits = 0;

  constructor(parts: HistoryParts) {
    this.#parts = parts;
    this.#transactions = new Transactions({
      ...parts,
      log: (line) => this.#tell(line),
      onStarted: (attempts) => this.#remember(this.#attempts, attempts),
    });
  }

  async run(steps: readonly Step[]): Promise<void> {
    try {
      for (const step of steps) await this.#take(step);
      await this.#transactions.endAll();
      await this.#compareTables();
      await this.#drain();
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.#log.join('\n')}`, { cause: error });
    }
  }

  /** Gives up whatever is still under way, so that the connections are free for the next history. */
  abandon(): Promise<void> {
    return this.#transactions.abandon();
  }

  #tell(line: string): void {
    this.#log.push(`${this.#parts.clock.nowUs / 1000}: ${line}`);
  }

  async #take(step: Step): Promise<void> {
    const { tenantId, clock } = this.#parts;
    const transactions = this.#transactions;
    switch (step.do) {
      case 'create': {
        const id = this.#parts.nextId();
        const fields = {
          id,
          partition: PARTITIONS[id.charCodeAt(id.length - 1) % PARTITIONS.length]!,
          timeoutMs: TIMEOUTS_MS[step.maxRetries % TIMEOUTS_MS.length]!,
          maxRetries: step.maxRetries,
          dueAt: Math.floor(clock.nowUs / 1000) + step.dueInMs,
        };
        return transactions.act([fields], ([one]) => operations.createOne(tenantId, one!, step.isNamed), step.hold);
      }
      case 'edit': {
        const timer = choose([...this.#timers()], step.pick);
        if (!timer) return;
        this.#edits += 1;
        const dueAt = step.dueInMs === undefined ? undefined : Math.floor(clock.nowUs / 1000) + step.dueInMs;
        const version = step.isBlind ? null : Math.max(1, timer.version - step.versionsBack);
        const seen = { id: timer.id, version };
        const edit = this.#edits;
        return transactions.act([seen], ([one]) => operations.editOne(tenantId, one!, edit, dueAt), step.hold);
      }
      case 'fire':
        return transactions.act(this.#pick([step.pick]), ([one]) => operations.fireOne(tenantId, one!.id), step.hold);
      case 'pause':
        return transactions.act(
          this.#pick([step.pick], ({ state }) => state === 'scheduled'),
          ([one]) => operations.pauseOne(tenantId, one!.id),
          step.hold,
        );
      case 'resume':
        return transactions.act(
          this.#pick([step.pick], isLive),
          ([one]) => operations.resumeOne(tenantId, one!.id),
          step.hold,
        );
      case 'cancel':
        return transactions.act(
          this.#pick(step.picks),
          (some) => operations.cancelSome(tenantId, ids(some), step.isLone),
          step.hold,
        );
      case 'redrive':
        return transactions.act(
          this.#pick(step.picks, ({ state }) => state === 'dead'),
          (some) => operations.redriveSome(tenantId, ids(some)),
          step.hold,
        );
      case 'dismiss':
        return transactions.act(
          this.#pick([step.pick], ({ state }) => state === 'dead'),
          ([one]) => operations.dismissOne(tenantId, one!.id),
          step.hold,
        );
      case 'start':
      case 'restart': {
        if (this.#hints.length === 0)
          await this.#read({ do: 'read', isSweep: false, lookAheadMs: 0, cursorPick: undefined });
        // A worker may be wrong about a lease: it asks to begin again whatever runs.
        // Or it has heard of the version before.
        const running = [...this.#timers()].filter(({ state }) => state === 'running');
        const older = running.map(({ id, version }) => ({ id, version: version - 1 }));
        const known = step.do === 'start' ? this.#hints : [...this.#hints, ...running, ...older];
        const hints = step.picks.flatMap((pick) => choose(known, pick) ?? []);
        if (!step.isDoubled) forget(this.#hints, hints);
        const build = step.do === 'start' ? operations.startSome : operations.restartSome;
        return transactions.act(hints, build, step.hold);
      }
      case 'outcome': {
        const attempts = [...new Set(step.picks.flatMap((pick) => choose(this.#attempts, pick) ?? []))];
        if (!step.isRepeated) forget(this.#attempts, attempts);
        return this.#writeOutcomes(step.kind, distinct(attempts), step.waitMs, step.hold);
      }
      case 'read':
        await this.#read(step);
        return;
      case 'lose':
        return forget(this.#hints, [choose(this.#hints, step.pick)!]);
      case 'end':
        return transactions.endOne(step.pick, step.isCommit);
      case 'fold': {
        await foldLedger(this.#parts.reader as unknown as Queryable);
        return this.#compareTables();
      }
      case 'wait':
        return this.#moveClock(clock.nowUs + step.us);
      case 'waitUntil': {
        const instants = [...this.#timers()].flatMap((timer) =>
          isLive(timer) ? [step.what === 'wake' ? timer.wakeAt : (timer.leaseEndsAt ?? 0)] : [],
        );
        const instant = choose(
          // Parked timers wake at no time.
          instants.filter((at) => Number.isFinite(at) && at * 1000 > clock.nowUs),
          step.pick,
        );
        if (instant !== undefined) await this.#moveClock(Math.max(clock.nowUs, instant * 1000 + step.offsetUs));
      }
    }
  }

  async #writeOutcomes(...[kind, attempts, waitMs, hold]: [...Parameters<typeof operations.writeOutcomes>, boolean]) {
    // One by one when they end in different ways: each statement is a transaction of its own.
    const byWay = Map.groupBy(attempts, ({ attempt, maxRetries }) => attempt <= maxRetries);
    for (const some of byWay.values()) {
      await this.#transactions.act(some, (few) => operations.writeOutcomes(kind, few, waitMs)[0]!, hold);
    }
  }

  /** Reads as a scheduler does, and compares what it was shown with what it had to be shown. */
  async #read(step: Extract<Step, { do: 'read' }>): Promise<TimerVersion[]> {
    const { reader, clock } = this.#parts;
    const recentFrom = step.isSweep ? 0 : Math.floor(clock.nowUs / 1000) - READ_BACK_MS;
    // A cursor stands at a timer that was read, and a parked one never is.
    const cursor =
      step.cursorPick === undefined
        ? undefined
        : choose(
            [...this.#timers()].filter((timer) => !isParked(timer)),
            step.cursorPick,
          );
    const from = PARTITIONS.map(
      (partition): ReadFrom =>
        cursor?.partition === partition
          ? { partition, wakeAt: cursor.wakeAt, id: cursor.id }
          : { partition, wakeAt: recentFrom, id: FIRST_ID },
    );
    const untilMs = step.isSweep ? -SWEEP_BEHIND_MS : step.lookAheadMs;
    const { timers } = await readDueTimers(reader as unknown as Queryable, from, untilMs, ROWS_MAX);
    this.#tell(
      `read ${step.isSweep ? 'all' : 'on'} until ${untilMs} ms: ${timers.map(({ id, version }) => `${id} v${version}`)}`,
    );
    const expected = [...this.#timers()]
      .filter((timer) => mustBeRead(timer, untilMs, clock.nowUs) && isBehind(timer, from[timer.partition]!))
      .toSorted((a, b) => a.partition - b.partition || a.wakeAt - b.wakeAt || (a.id < b.id ? -1 : 1));
    const show = (id: string, version: number, wakeAt: number, from: number) =>
      `${id} v${version} wake ${wakeAt} from ${from}`;
    const found = timers.map((hint) =>
      show(hint.id, hint.version, Math.round(hint.wakeAt), Math.round(hint.overdueFrom)),
    );
    const wanted = expected.map(({ id, version, wakeAt, leaseEndsAt }) =>
      show(id, version, wakeAt, leaseEndsAt ?? wakeAt),
    );
    // In order, too: cursors rely on it.
    const differences = compare('read', found, wanted);
    if (differences.length === 0 && found.some((line, index) => line !== wanted[index]))
      differences.push('read in another order');
    if (differences.length > 0) throw new Error(differences.join('\n'));
    this.#remember(this.#hints, timers);
    return timers;
  }

  /** However it went: after a while a sweep finds every timer that is live and not parked, and all of them end. */
  async #drain(): Promise<void> {
    for (const { id } of [...this.#timers()].filter(isParked)) {
      await this.#transactions.act([{ id }], ([one]) => operations.resumeOne(this.#parts.tenantId, one!.id), false);
    }
    await this.#moveClock(this.#parts.clock.nowUs + LONG_US);
    const hints = await this.#read({ do: 'read', isSweep: true, lookAheadMs: 0, cursorPick: undefined });
    const missed = [...this.#timers()].filter(isLive).filter(({ id }) => !hints.some((hint) => hint.id === id));
    if (missed.length > 0) throw new Error(`no sweep finds ${ids(missed)}`);
    this.#attempts.length = 0;
    await this.#transactions.act(hints, operations.startSome, false);
    await this.#transactions.act(hints, operations.restartSome, false);
    await this.#transactions.act([...this.#attempts], (all) => operations.writeOutcomes('success', all, 0)[0]!, false);
    const left = [...this.#timers()].filter(isLive);
    if (left.length > 0) throw new Error(`${ids(left)} can not be brought to an end`);
    await this.#compareTables();
  }

  async #compareTables(): Promise<void> {
    const { control, tenantId } = this.#parts;
    const { committed, ledger, witness } = this.#transactions;
    const differences = [...witness.faults, ...(await findDifferences(control, tenantId, committed, ledger))];
    if (differences.length > 0) throw new Error(differences.join('\n'));
  }

  async #moveClock(us: number): Promise<void> {
    await this.#parts.clock.moveTo(us);
    this.#tell('the clock was moved');
  }

  #timers(): Iterable<ModelTimer> {
    return this.#transactions.committed.values();
  }

  #pick(picks: readonly number[], isWanted: (timer: ModelTimer) => boolean = () => true): ModelTimer[] {
    const candidates = [...this.#timers()].filter(isWanted);
    return distinct(picks.flatMap((pick) => choose(candidates, pick) ?? []));
  }

  #remember<Item>(list: Item[], items: readonly Item[]): void {
    list.push(...items);
    if (list.length > REMEMBERED_MAX) list.splice(0, list.length - REMEMBERED_MAX);
  }
}

function choose<Item>(items: readonly Item[], pick: number): Item | undefined {
  return items[pick % Math.max(1, items.length)];
}

function forget<Item>(list: Item[], items: readonly Item[]): void {
  for (const item of items) {
    const index = list.indexOf(item);
    if (index >= 0) list.splice(index, 1);
  }
}

function distinct<Item extends { id: string }>(items: readonly Item[]): Item[] {
  return [...new Map(items.map((item) => [item.id, item])).values()];
}

function ids(items: readonly { id: string }[]): string[] {
  return items.map(({ id }) => id);
}

function isParked({ state }: ModelTimer): boolean {
  return state === 'paused';
}

function isBehind(timer: ModelTimer, from: ReadFrom): boolean {
  return timer.wakeAt > from.wakeAt || (timer.wakeAt === from.wakeAt && timer.id > from.id);
}
