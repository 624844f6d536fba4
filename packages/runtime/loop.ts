/** Milliseconds after which a loop that did not finish a turn counts as stuck. */
export const STUCK_AFTER_MS_DEFAULT = 30_000;

export interface LoopOptions {
  name: string;
  /** One turn. What it throws goes to `onError`; the loop goes on after `errorPauseMs`. */
  run: () => Promise<void>;
  /** Milliseconds from the end of one turn to the beginning of the next; asked after each turn. */
  pauseMs: () => number;
  errorPauseMs: number;
  onError: (error: unknown) => void;
  stuckAfterMs?: number;
}

/**
 * Runs `run` again and again, one turn at a time, until stopped. `wake` cuts the present pause short.
 * `isStuck` tells whether the present turn has taken too long: what liveness is judged by.
 */
export class Loop {
  readonly name: string;
  readonly #options: LoopOptions;
  #timer: NodeJS.Timeout | undefined;
  #turn: Promise<void> | undefined;
  #turnBeganAt = 0;
  #isRunning = false;

  constructor(options: LoopOptions) {
    this.name = options.name;
    this.#options = options;
  }

  start(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#scheduleTurn(0);
  }

  /** Resolves when the turn under way, if any, has ended. Safe before start and more than once. */
  async stop(): Promise<void> {
    this.#isRunning = false;
    clearTimeout(this.#timer);
    await this.#turn;
  }

  /** Begins the next turn now, unless one is under way. */
  wake(): void {
    if (!this.#isRunning || this.#turn) return;
    clearTimeout(this.#timer);
    this.#scheduleTurn(0);
  }

  get isStuck(): boolean {
    const limit = this.#options.stuckAfterMs ?? STUCK_AFTER_MS_DEFAULT;
    return this.#turn !== undefined && performance.now() - this.#turnBeganAt > limit;
  }

  #scheduleTurn(pauseMs: number): void {
    this.#timer = setTimeout(() => {
      this.#turnBeganAt = performance.now();
      this.#turn = this.#runTurn();
    }, pauseMs);
  }

  async #runTurn(): Promise<void> {
    let pauseMs: number;
    try {
      await this.#options.run();
      pauseMs = this.#options.pauseMs();
    } catch (error) {
      this.#options.onError(error);
      pauseMs = this.#options.errorPauseMs;
    }
    this.#turn = undefined;
    if (this.#isRunning) this.#scheduleTurn(pauseMs);
  }
}
