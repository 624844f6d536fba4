import type { ApiClient, Delivery, Receivers } from '@punctual/e2e';
import type { Offence } from './judge/evidence.ts';
import type { Tweaks } from './preload/tweaks.ts';
import type { ChaosSystem, ServerLink, SystemOptions } from './system/chaos-system.ts';
import type { Link } from './system/link.ts';
import type { Role } from './system/managed-service.ts';
import type { Surroundings } from './system/surroundings.ts';
import type { Traffic, TrafficOptions } from './traffic/traffic.ts';

/** Ways to and from the whole: between clients and the apis, and between the workers and the receivers. */
export type OuterLink = 'client-api' | 'worker-endpoint';
export type LinkName = ServerLink | OuterLink;

/** What a case that judges for itself has in its hands when every timer has ended. */
export interface EndEvidence {
  /** The receivers' log, in the order in which requests came. */
  deliveries: readonly Delivery[];
  api: ApiClient;
}

/** What a case has in its hands while the traffic goes on. */
export interface CaseContext {
  system: ChaosSystem;
  /** Those to the servers, and the case's `outerLink`. */
  links: ReadonlyMap<LinkName, Link>;
  /** Of a case that has one. */
  surroundings: Surroundings | undefined;
  traffic: Traffic;
  apiUrls: readonly string[];
  /** Where requests of the case's own are delivered, and what came so far. */
  receivers: Pick<Receivers, 'urls' | 'deliveries'>;
  /** Has the case's own traffic judged when every timer has ended, beside what is judged of all. */
  judgeAtEnd(judge: (evidence: EndEvidence) => Promise<Offence[]>): void;
  /** Has something closed when all is judged, or given up. */
  closeAfterwards(close: () => unknown): void;
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
  /** One that the case disturbs. There is no proxy on it otherwise: it would be as slow as the harness is busy. */
  outerLink?: OuterLink;
  /** Nothing is broken, so there is no heal from which to recover. */
  isCalm?: boolean;
  /** Whether an attempt may be repeated: not without a fault that leaves one in doubt. */
  allowsRepeats: boolean;
  /** Whether an attempt may fail on its way to the receiver. */
  allowsFailedAttempts?: boolean;
  /** Whether requests to the api may get no answer for longer than the api may take: the way to it is cut. */
  allowsNoAnswers?: boolean;
  /** In which everything due by the heal must be delivered (ms); a minute when absent. */
  recoveryLimitMs?: number;
  /** Why it cannot run on this machine, as a sentence that says what is missing. */
  findObstacle?: () => string | undefined;
  /** Causes the fault, lets it last, and heals it. */
  fault(context: CaseContext): Promise<void>;
}
