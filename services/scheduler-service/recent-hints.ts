import type { TimerVersion } from '@punctual/database';

/**
 * Remembers which versions of timers were read lately, so that reading them again does not dispatch them again.
 * Two generations: one is forgotten at each `rotate`, so an entry lasts between one and two turns.
 */
export class RecentHints {
  #current = new Map<string, number>();
  #previous = new Map<string, number>();

  has({ id, version }: TimerVersion): boolean {
    return (this.#current.get(id) ?? this.#previous.get(id)) === version;
  }

  add({ id, version }: TimerVersion): void {
    this.#current.set(id, version);
  }

  /** After a hand-over that failed: the next read must find it. */
  remove({ id }: TimerVersion): void {
    this.#current.delete(id);
    this.#previous.delete(id);
  }

  rotate(): void {
    this.#previous = this.#current;
    this.#current = new Map();
  }

  get size(): number {
    return this.#current.size + this.#previous.size;
  }
}
