import { type Database, readTracesOfTimers } from '@punctual/database';
import type { Hint } from '@punctual/queue';
import type { Tracing } from '@punctual/runtime';

export interface DispatchTracesOptions {
  tracing: Tracing;
  database: Pick<Database, 'ordinary'>;
  onError: (error: unknown) => void;
}

/** Look-ups under way at once; the spans of hand-overs beyond are left out. */
const LOOKUPS_MAX = 4;

/**
 * The span `timer.dispatch` of timers that were created in a traced request. It is looked up beside the hand-over, which
 * waits for nothing.
 */
export class DispatchTraces {
  readonly #options: DispatchTracesOptions;
  #lookups = 0;

  constructor(options: DispatchTracesOptions) {
    this.#options = options;
  }

  /** Follows one hand-over; `handedOver` settles with it. Never rejects. */
  async follow(hints: readonly Hint[], handedOver: Promise<unknown>): Promise<void> {
    if (this.#lookups >= LOOKUPS_MAX) return;
    const { tracing, database, onError } = this.#options;
    this.#lookups += 1;
    const startedAt = Date.now();
    try {
      // Asked at once: when it has been delivered, the run of a task can not be told any more.
      const reading = readTracesOfTimers(
        database.ordinary,
        hints.map(({ id }) => id),
      ).catch((error: unknown) => {
        onError(error);
        return new Map<string, string>();
      });
      const isHandedOver = await handedOver.then(
        () => true,
        () => false,
      );
      const endedAt = Date.now();
      const traces = await reading;
      if (!isHandedOver) return;
      for (const [id, parent] of traces) {
        tracing
          .begin('timer.dispatch', { kind: 'producer', parent, startedAt, attributes: { 'punctual.timer.id': id } })
          ?.end({ endedAt });
      }
    } finally {
      this.#lookups -= 1;
    }
  }
}
