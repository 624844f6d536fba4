import type pg from 'pg';
import type { Actor, Underway } from './actor.ts';
import type { ControlledClock } from './controlled-clock.ts';
import type { Operation, Row, Started } from './operations.ts';
import { compare } from './stored.ts';
import { book, create, isLive, type ModelLedger, type ModelTimer } from './timer-model.ts';
import { Witness } from './witness.ts';

/** What a statement that has been answered does to one timer when its transaction commits. */
interface Effect {
  before: ModelTimer | undefined;
  after: ModelTimer;
  /** The database's time when it told of it (µs). */
  toldUs: number;
}

interface Begun {
  actor: Actor;
  operation: Operation;
  underway: Underway;
  hold: boolean;
  /** The timers that it names as they were committed when it began: a statement passes over those that did not match then. */
  snapshot: ReadonlyMap<string, ModelTimer>;
  begunUs: number;
}

interface Open extends Begun {
  effects: readonly Effect[];
  /** Timers whose rows it has locked: those that it changed, and one for which it waited, even if that did not match any more. */
  locked: ReadonlySet<string>;
  rows: readonly Row[];
}

interface Waiting extends Begun {
  blocker: Open;
  /** The timer whose lock it waits for. */
  blockedId: string;
}

export interface TransactionsParts {
  actors: readonly Actor[];
  control: pg.ClientBase;
  clock: ControlledClock;
  log: (line: string) => void;
  onStarted: (attempts: readonly Started[]) => void;
}

/** A statement that nobody holds up, and one that somebody no longer does, is answered by then (ms); else it hangs. */
const ANSWER_LIMIT_MS = 10_000;

/**
 * The transactions of one history, and what is committed by the model. Each operation is one transaction of one statement
 * that changes timers. It holds its rows' locks until its end; who comes later waits for that, and is then judged by what
 * was committed. There is at most one to wait for each lock, and it waits for one only, so that the model can say what
 * must come of it.
 */
export class Transactions {
  readonly committed = new Map<string, ModelTimer>();
  readonly ledger: ModelLedger = { created: 0, succeeded: 0, dead: 0, cancelled: 0, dismissed: 0 };
  readonly witness = new Witness();
  readonly #parts: TransactionsParts;
  #open: Open[] = [];
  #waiting: Waiting[] = [];
  #begun: Begun | undefined;

  constructor(parts: TransactionsParts) {
    this.#parts = parts;
  }

  /** Begins an operation on those of `items` that it may name, and ends it unless it is to `hold`, or has to wait. */
  async act<Item extends { id: string }>(
    items: readonly Item[],
    build: (items: readonly Item[]) => Operation,
    hold: boolean,
  ): Promise<void> {
    const actor = await this.#findIdleActor();
    const awaited = new Set(this.#waiting.flatMap(({ operation }) => operation.targets.map(({ id }) => id)));
    const locked = items.find(({ id }) => this.#findHolder(id))?.id;
    const chosen = items.filter(({ id }) => !awaited.has(id) && (id === locked || !this.#findHolder(id)));
    if (chosen.length === 0) return;
    const operation = build(chosen);
    const { clock, log } = this.#parts;
    const snapshot = new Map(operation.targets.flatMap(({ id }) => this.#readCommitted(id)));
    const begunUs = clock.nowUs;
    const blocked = operation.targets.find(({ id, change }) => {
      const seen = snapshot.get(id);
      return seen && this.#findHolder(id) && change(seen, begunUs);
    });
    log(`${this.#parts.actors.indexOf(actor)}: ${operation.name}${blocked ? `, which waits for ${blocked.id}` : ''}`);
    const begun: Begun = { actor, operation, underway: actor.begin(operation.run, hold), hold, snapshot, begunUs };
    this.#begun = begun;
    if (!blocked) return this.#settle(begun, undefined);
    await this.#confirmWaiting(begun);
    this.#begun = undefined;
    this.#waiting.push({ ...begun, blocker: this.#findHolder(blocked.id)!, blockedId: blocked.id });
  }

  /** Commits, or rolls back, one of those that hold locks. */
  async endOne(pick: number, isCommit: boolean): Promise<void> {
    const open = this.#open[pick % Math.max(1, this.#open.length)];
    if (open) await this.#end(open, isCommit);
  }

  async endAll(): Promise<void> {
    for (let open = this.#open[0]; open; open = this.#open[0]) await this.#end(open, true);
  }

  /** After a fault: whatever is under way is cancelled and rolled back. */
  async abandon(): Promise<void> {
    const left = [...this.#open, ...this.#waiting, ...(this.#begun ? [this.#begun] : [])];
    for (const { actor } of left) await this.#parts.control.query('SELECT pg_cancel_backend($1)', [actor.pid]);
    await Promise.allSettled(left.map(({ underway }) => underway.end(false)));
  }

  #readCommitted(id: string): [string, ModelTimer][] {
    const timer = this.committed.get(id);
    return timer ? [[id, timer]] : [];
  }

  #findHolder(id: string): Open | undefined {
    return this.#open.find(({ locked }) => locked.has(id));
  }

  async #findIdleActor(): Promise<Actor> {
    for (;;) {
      const busy = new Set([...this.#open, ...this.#waiting].map(({ actor }) => actor));
      const idle = this.#parts.actors.find((actor) => !busy.has(actor));
      if (idle) return idle;
      await this.#end(this.#open[0]!, true);
    }
  }

  async #confirmWaiting({ actor, operation, underway }: Begun): Promise<void> {
    let isAnswered = false;
    underway.answered.then(
      () => (isAnswered = true),
      () => (isAnswered = true),
    );
    const deadline = performance.now() + ANSWER_LIMIT_MS;
    while (!isAnswered && performance.now() < deadline) {
      const { rows } = await this.#parts.control.query({
        name: 'is_waiting',
        text: 'SELECT FROM pg_locks WHERE pid = $1 AND NOT granted',
        values: [actor.pid],
      });
      if (rows.length > 0) return;
    }
    throw new Error(`"${operation.name}" did not wait for who had locked its timer`);
  }

  async #settle(begun: Begun, blockedId: string | undefined): Promise<void> {
    const { operation, underway } = begun;
    const { rows } = await waitFor(underway.answered, `"${operation.name}" is not answered`);
    const effects = this.#expect(begun, blockedId);
    this.#checkAnswer(operation, rows, effects);
    const locked = new Set(effects.map(({ after }) => after.id));
    // Not one that was a dead letter then: what is live again by now is a new row, in another table.
    const stayed = [begun.snapshot, this.committed].map((timers) => blockedId !== undefined && timers.get(blockedId));
    if (stayed.every((timer) => timer && isLive(timer))) locked.add(blockedId!);
    const open = { ...begun, effects, locked, rows };
    this.#begun = undefined;
    this.#open.push(open);
    if (!begun.hold) await this.#end(open, true);
  }

  /**
   * What it must have done, by the model. A row for which it waited is looked at again when somebody has changed it;
   * else what had been reckoned before the wait is written. Rows behind that one are looked at after the wait; all of
   * them, by a statement that locks before it reckons.
   */
  #expect({ operation, snapshot, begunUs }: Begun, blockedId: string | undefined): Effect[] {
    if (operation.creates) {
      return [{ before: undefined, after: create(operation.creates, begunUs), toldUs: begunUs }];
    }
    const effects = new Map<string, Effect>();
    const locksFirst = operation.locksFirst === true && blockedId !== undefined;
    let toldUs = locksFirst ? this.#parts.clock.nowUs : begunUs;
    for (const { id, change } of operation.targets) {
      const seen = snapshot.get(id);
      const reckoned = seen && change(seen, toldUs);
      if (!reckoned || effects.has(id)) continue;
      if (id === blockedId) toldUs = this.#parts.clock.nowUs;
      const before = this.committed.get(id)!;
      const after = before === seen && !locksFirst ? reckoned : change(before, toldUs);
      if (after) effects.set(id, { before, after, toldUs });
    }
    return [...effects.values()];
  }

  #checkAnswer({ name, showRow, showTimer }: Operation, rows: readonly Row[], effects: readonly Effect[]): void {
    if (!showRow || !showTimer) return;
    const expected = effects.map(({ after, toldUs }) => showTimer(after, toldUs));
    const differences = compare('answered', rows.map(showRow).toSorted(), expected.toSorted());
    if (differences.length > 0) throw new Error(`"${name}": ${differences.join('; ')}`);
  }

  async #end(open: Open, isCommit: boolean): Promise<void> {
    this.#parts.log(`${this.#parts.actors.indexOf(open.actor)}: ${isCommit ? 'commit' : 'roll back'}`);
    await waitFor(open.underway.end(isCommit), `the end of "${open.operation.name}" hangs`);
    this.#open = this.#open.filter((other) => other !== open);
    if (isCommit) this.#apply(open);
    const released = this.#waiting.filter(({ blocker }) => blocker === open);
    this.#waiting = this.#waiting.filter(({ blocker }) => blocker !== open);
    for (const [index, waiting] of released.entries()) {
      try {
        await this.#settle(waiting, waiting.blockedId);
      } catch (error) {
        // The others are to be abandoned with the rest.
        this.#waiting.push(...released.slice(index));
        throw error;
      }
    }
  }

  #apply({ operation, effects, rows }: Open): void {
    for (const { before, after } of effects) {
      this.committed.set(after.id, after);
      book(this.ledger, before, after);
    }
    const { kind } = operation;
    if (kind === 'start') {
      this.witness.seeStarted(rows, this.#parts.clock.nowUs);
      this.#parts.onStarted(
        rows.map(({ id, version, attempt }) => ({
          id: String(id),
          version: Number(version),
          attempt: Number(attempt),
          maxRetries: this.committed.get(String(id))?.maxRetries ?? 0,
        })),
      );
    }
    for (const row of rows) {
      if (kind === 'cancel') this.witness.seeCancelled(String(row.id));
      if (kind === 'fire') this.witness.seeVersion(String(row.id), Number(row.version));
      if (kind === 'edit') {
        const { edit } = JSON.parse(String(row.payload)) as { edit: number };
        this.witness.seeEdited(String(row.id), edit, Number(row.version));
      }
    }
  }
}

async function waitFor<T>(promise: Promise<T>, otherwise: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(otherwise)), ANSWER_LIMIT_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
