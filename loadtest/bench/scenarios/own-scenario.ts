import type { Child } from '../child.ts';
import type { PunctualEngine } from '../engines/punctual.ts';

/** What a scenario that only Punctual runs came to: figures by name, with their units in the names. */
export interface OwnResult {
  figures: Record<string, number>;
  faults: string[];
}

export interface OwnScenarioOptions {
  /** Timers, runs or requests: what it counts in. */
  count: number;
  rate: number;
  seconds: number;
  /** Progress, a line at a time. */
  log: (line: string) => void;
}

/** A scenario that only Punctual runs. */
export interface OwnScenario {
  /** One line of the usage text. */
  summary: string;
  countDefault: number;
  /** Length of its measured part, or of each of them (s); absent: that of `steady`. */
  secondsDefault?: number;
  /** Settings of the services, where the usual ones do not do. */
  env?: Record<string, string>;
  run(engine: PunctualEngine, sink: Child, options: OwnScenarioOptions): Promise<OwnResult>;
}
