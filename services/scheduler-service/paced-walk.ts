import { readMonotonicMs } from '@punctual/database';
import { LoopedRole, type LoopedRoleOptions } from '@punctual/runtime';

export interface PacedWalkOptions extends LoopedRoleOptions {
  /** Whether this scheduler is the one that walks; two that do must be harmless. */
  isLeading: () => boolean;
  /** Between the beginnings of two walks. */
  intervalMs: number;
  /** The most of the time that a walk may take, between 0 and 1. */
  timeShare: number;
}

/** Between two questions whether this scheduler leads by now (ms). */
const LEAD_CHECK_MS = 1_000;

/**
 * A walk over much that one scheduler of all makes now and then, step by step, with pauses by which it is not felt. Where it
 * stands is kept in memory: after a failure, or by another scheduler, it begins anew.
 */
export abstract class PacedWalk extends LoopedRole {
  readonly #options: PacedWalkOptions;
  #walk: AsyncGenerator<void, void, void> | undefined;
  #beganAt = Number.NEGATIVE_INFINITY;
  #notBefore = Number.NEGATIVE_INFINITY;

  constructor(options: PacedWalkOptions) {
    super(options);
    this.#options = options;
  }

  protected override choosePauseMs(): number {
    return this.#options.isLeading() ? Math.max(0, this.#notBefore - readMonotonicMs()) : LEAD_CHECK_MS;
  }

  /** One step of a walk, or the beginning of the next one. */
  override async runOnce(): Promise<void> {
    const { isLeading, intervalMs, timeShare } = this.#options;
    if (!isLeading()) {
      this.#walk = undefined;
      this.#notBefore = Number.NEGATIVE_INFINITY;
      return;
    }
    const beganAt = readMonotonicMs();
    if (this.#walk === undefined) {
      this.#beganAt = beganAt;
      this.#walk = this.walk();
    }
    let isOver: boolean | undefined = true;
    try {
      isOver = (await this.#walk.next()).done;
    } finally {
      // One that failed begins anew.
      if (isOver) this.#walk = undefined;
    }
    const endedAt = readMonotonicMs();
    this.#notBefore = isOver ? this.#beganAt + intervalMs : endedAt + (endedAt - beganAt) * (1 / timeShare - 1);
  }

  /** A whole walk. It yields after each step, which must be bounded. */
  protected abstract walk(): AsyncGenerator<void, void, void>;
}
