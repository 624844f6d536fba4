import { limitRate, OUTAGE_LOG_INTERVAL_MS } from './limit-rate.ts';
import type { Logger } from './logger.ts';
import { Loop } from './loop.ts';
import type { Role } from './role.ts';

export interface LoopedRoleOptions {
  /** Of the loop, as liveness names it. */
  name: string;
  /** After a turn that failed. */
  errorPauseMs: number;
  /** What is logged of a turn that failed, now and then. */
  complaint: string;
  logger: Logger;
}

/** A role that is one loop: turns with pauses between them, and a warning now and then while they fail. */
export abstract class LoopedRole implements Role {
  readonly loop: Loop;

  constructor({ name, errorPauseMs, complaint, logger }: LoopedRoleOptions) {
    this.loop = new Loop({
      name,
      run: () => this.runOnce(),
      pauseMs: () => this.choosePauseMs(),
      errorPauseMs,
      onError: limitRate((error: unknown) => logger.warn({ err: error }, complaint), OUTAGE_LOG_INTERVAL_MS),
    });
  }

  start(): void {
    this.loop.start();
  }

  async stop(): Promise<void> {
    await this.loop.stop();
  }

  abstract runOnce(): Promise<void>;

  /** Milliseconds from the end of a turn to the beginning of the next; asked after each that did not fail. */
  protected abstract choosePauseMs(): number;
}
