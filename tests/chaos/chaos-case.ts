import type { Tweaks } from './preload/tweaks.ts';
import type { ChaosSystem, SystemOptions } from './system/chaos-system.ts';
import type { Role } from './system/managed-service.ts';
import type { Surroundings } from './system/surroundings.ts';
import type { Traffic, TrafficOptions } from './traffic/traffic.ts';

/** What a case has in its hands while the traffic goes on. */
export interface CaseContext {
  system: ChaosSystem;
  /** Of a case that has one. */
  surroundings: Surroundings | undefined;
  traffic: Traffic;
  /** The same numbers for the same seed, in [0, 1). */
  random: () => number;
  /** The full count of something, or the short form's. */
  choose(full: number, short: number): number;
  /** Lets the fault last (ms). */
  last(ms: number): Promise<void>;
  log: (line: string) => void;
}

/** One row of the fault matrix. */
export interface ChaosCase {
  /** Group and name: "freeze:worker". */
  name: string;
  /** What is done, in a few words. */
  summary: string;
  /** Whether the short form is part of `npm test`. */
  isInTests?: boolean;
  system?: Partial<Omit<SystemOptions, 'tweaks' | 'surroundings'>>;
  /** `folder`: an empty one, removed at the end. */
  surroundings?: (folder: string) => Promise<Surroundings>;
  tweaks?: (choose: CaseContext['choose'], random: () => number) => Partial<Record<Role, Tweaks>>;
  traffic?: Partial<Pick<TrafficOptions, 'rate' | 'delayMs' | 'shares' | 'raceMs' | 'timeoutMs'>>;
  /** Whether an attempt may be repeated: not without a fault that leaves one in doubt. */
  allowsRepeats: boolean;
  /** In which everything due by the heal must be delivered (ms); a minute when absent. */
  recoveryLimitMs?: number;
  /** Why it cannot run on this machine, as a sentence that says what is missing. */
  findObstacle?: () => string | undefined;
  /** Causes the fault, lets it last, and heals it. */
  fault(context: CaseContext): Promise<void>;
}
