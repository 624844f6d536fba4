import type { DatabaseClock } from '@punctual/database';
import type { Hint } from '@punctual/queue';
import { Agenda } from '@punctual/runtime';

/** Hints of one chunk that are due. */
export interface DueHints<Chunk> {
  chunk: Chunk;
  hints: readonly Hint[];
}

export interface EarlyHintsOptions<Chunk> {
  clock: DatabaseClock;
  /** What comes due within it after others is let go together with what comes due meanwhile (ms). */
  windowMs: number;
  /** Told of what is due now. */
  onDue: (parts: readonly DueHints<Chunk>[]) => void;
}

/**
 * A hint that is due later than this is not waited for (ms): schedulers hand over far less early, so a clock was set. The
 * start asks the database's clock itself.
 */
const WAIT_MAX_MS = 1_000;

/**
 * Holds hints that came before they are due, until they are by the database's clock. So the way through the queue costs
 * no lateness, and what comes due at about the same time travels in one job.
 * Killed, it leaves timers that nobody started, which the schedulers find again.
 */
export class EarlyHints<Chunk> {
  readonly #options: EarlyHintsOptions<Chunk>;
  readonly #agenda = new Agenda<{ chunk: Chunk; hint: Hint }>();
  #letGoAt = Number.NEGATIVE_INFINITY;
  #alarm: NodeJS.Timeout | undefined;

  constructor(options: EarlyHintsOptions<Chunk>) {
    this.#options = options;
  }

  /** Keeps those of the hints that are not yet due, and returns the others. */
  hold(chunk: Chunk, hints: readonly Hint[]): readonly Hint[] {
    const { clock } = this.#options;
    const now = clock.nowAtLeast();
    const isEarly = ({ wakeAt = 0 }: Hint) => wakeAt > now && wakeAt <= now + WAIT_MAX_MS;
    const early = hints.filter(isEarly);
    if (early.length === 0) return hints;
    for (const hint of early) this.#agenda.add(hint.wakeAt!, { chunk, hint });
    this.#letGo();
    return hints.filter((hint) => !isEarly(hint));
  }

  // One that is due alone is let go at once; those that follow it within the window, together at its end.
  #letGo(): void {
    const { clock, windowMs, onDue } = this.#options;
    clearTimeout(this.#alarm);
    const now = clock.nowAtLeast();
    const windowLeftMs = this.#letGoAt + windowMs - performance.now();
    const wasClockSetBack = this.#agenda.findNext() > now + WAIT_MAX_MS;
    const due = windowLeftMs <= 0 ? this.#agenda.take(wasClockSetBack ? Number.POSITIVE_INFINITY : now) : [];
    if (due.length > 0) {
      this.#letGoAt = performance.now();
      const chunks = Map.groupBy(due, (item) => item.chunk);
      onDue([...chunks].map(([chunk, items]) => ({ chunk, hints: items.map(({ hint }) => hint) })));
    }
    const waitMs = Math.max(this.#agenda.findNext() - now, this.#letGoAt + windowMs - performance.now());
    // Node rounds waits down to whole milliseconds: up instead, so that the alarm never rings in vain.
    if (this.#agenda.size === 0) return;
    this.#alarm = setTimeout(() => this.#letGo(), Math.min(WAIT_MAX_MS, Math.max(1, Math.ceil(waitMs))));
  }
}
