import { type Database, readStandingStarts, type TimerVersion } from '@punctual/database';
import { Batcher } from '@punctual/runtime';

/**
 * For so long after the question was sent the answer is good that a start still stands (ms). Longer than an attempt goes
 * without any question, because the answer has to travel; shorter than Postgres takes to recover from a crash.
 */
export const CHECK_GOOD_MS = 200;
/** Starts that one statement asks about. */
const STARTS_PER_STATEMENT_MAX = 500;
/** Statements under way at once that are not slow, and all of them: while Postgres is away, others may still get through. */
const QUICK_STATEMENTS_MAX = 1;
const STATEMENTS_MAX = 2;

interface Question {
  timer: TimerVersion;
  resolve: (goodUntil: number | undefined) => void;
  reject: (error: unknown) => void;
}

/**
 * Asks whether starts still stand, many with one statement. A process that is short of time has many old starts at once;
 * a statement for each would wait for a connection until its answer was too old to be good, and be asked again.
 */
export class StartChecks {
  readonly #database: Pick<Database, 'hot'>;
  readonly #questions: Batcher<Question>;

  constructor(database: Pick<Database, 'hot'>) {
    this.#database = database;
    this.#questions = new Batcher({
      run: (questions) => this.#ask(questions),
      windowMs: 0,
      weigh: () => 1,
      weightMax: STARTS_PER_STATEMENT_MAX,
      quickMax: QUICK_STATEMENTS_MAX,
      batchesMax: STATEMENTS_MAX,
    });
  }

  /**
   * Until when the timer may be sent (`performance.now()`); undefined when its start does not stand any more. Rejects when
   * Postgres is away.
   */
  check({ id, version }: TimerVersion): Promise<number | undefined> {
    return new Promise((resolve, reject) => this.#questions.add({ timer: { id, version }, resolve, reject }));
  }

  async #ask(questions: readonly Question[]): Promise<void> {
    const askedAt = performance.now();
    try {
      const standing = await readStandingStarts(
        this.#database.hot,
        questions.map(({ timer }) => timer),
      );
      const names = new Set(standing.map(name));
      for (const { timer, resolve } of questions) resolve(names.has(name(timer)) ? askedAt + CHECK_GOOD_MS : undefined);
    } catch (error) {
      for (const { reject } of questions) reject(error);
    }
  }
}

function name({ id, version }: TimerVersion): string {
  return `${id}/${version}`;
}
