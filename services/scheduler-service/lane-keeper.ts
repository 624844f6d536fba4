import { type Database, dropIdleLanes, wakeNeglectedLanes } from '@punctual/database';
import { type Logger, LoopedRole } from '@punctual/runtime';
import type { SchedulerMetrics } from './metrics.ts';

export interface LaneKeeperOptions {
  database: Pick<Database, 'hot'>;
  metrics: SchedulerMetrics;
  logger: Logger;
}

/** Between two turns (ms). One without lanes is a look into an index that holds nothing. */
const INTERVAL_MS = 500;
const ERROR_PAUSE_MS = 1_000;
/** A lane in which somebody waits is looked at when nobody else has for so long (ms): less than rates are reckoned ahead. */
const NEGLECTED_AFTER_MS = 1_000;
/** Lanes of one turn. Beyond it they are looked at in turns. */
const LANES_MAX = 500;
/** Between two turns that forget lanes (ms), the lanes of each, and how long nobody has used them (ms). */
const FORGET_INTERVAL_MS = 5_000;
const FORGET_MAX = 5_000;
const FORGET_AFTER_MS = 60_000;

/**
 * Looks at lanes in which timers wait and that nobody else looks at: who gave a place back may have died before he woke the next,
 * or was an api; and a rate lets one begin after the other. Forgets lanes that are out of use. Every scheduler runs one; they
 * pass over what another has locked. Killed, it leaves nothing.
 */
export class LaneKeeper extends LoopedRole {
  readonly #options: LaneKeeperOptions;
  #isBehind = false;
  #forgotAt = performance.now();

  constructor(options: LaneKeeperOptions) {
    super({
      name: 'lane-keeper',
      errorPauseMs: ERROR_PAUSE_MS,
      complaint: 'could not look at lanes; trying again',
      logger: options.logger,
    });
    this.#options = options;
  }

  protected override choosePauseMs(): number {
    return this.#isBehind ? 0 : INTERVAL_MS;
  }

  async runOnce(): Promise<void> {
    const { database, metrics } = this.#options;
    const looked = await wakeNeglectedLanes(database.hot, NEGLECTED_AFTER_MS, LANES_MAX);
    metrics.lanesLooked.inc(looked);
    let forgotten = 0;
    if (performance.now() - this.#forgotAt >= FORGET_INTERVAL_MS) {
      forgotten = await dropIdleLanes(database.hot, FORGET_AFTER_MS, FORGET_MAX);
      if (forgotten < FORGET_MAX) this.#forgotAt = performance.now();
    }
    this.#isBehind = looked === LANES_MAX || forgotten === FORGET_MAX;
  }
}
