import type { Delivery } from '@punctual/e2e';
import type { Book } from '../traffic/book.ts';

/** What the API shows of a timer at the end. */
export interface EndedTimer {
  id: string;
  status: string;
  attempt: number;
  externalId?: string;
}

export interface EndedRun {
  id: string;
  status: string;
  tasks: { key: string; status: string; timerId?: string }[];
}

export interface LedgerSample {
  at: number;
  isBalanced: boolean;
  live: number;
  overdueCount: number;
  stuckRunCount: number;
  differences: unknown[];
}

/** What a process did that nobody asked for: it ended, or could not take the place of one that had. */
export interface ProcessFault {
  kind: 'end' | 'start';
  text: string;
}

/** Everything that was acknowledged and everything that was received, when all is over. Instants are epoch ms. */
export interface Evidence {
  book: Book;
  /** The receivers' log, in the order in which requests came. */
  deliveries: readonly Delivery[];
  timers: readonly EndedTimer[];
  runs: readonly EndedRun[];
  ledgers: readonly LedgerSample[];
  processFaults: readonly ProcessFault[];
  /** When the fault began and when it was over; both undefined where there was none. */
  faultAt: number | undefined;
  healedAt: number | undefined;
}

/** What is judged, by the letters of the guarantees. */
export const CHECKS = {
  lost: 'every acknowledged timer ended as it should: delivered, dead after exactly its attempts, or cancelled',
  early: 'nothing came before its due time, and no retry before its backoff',
  overtaken: 'no request of what an acknowledged cancel or edit had replaced',
  repeated: 'repeats carry the same id, and there are none without a fault',
  ledger: 'the ledger balances at every moment, and in the end nothing is live, overdue or stuck',
  late: 'everything that was due by the heal is delivered within the limit after it',
  answers:
    'the API answers within 5 s, and 1 s of grace for a machine that runs the clients as well, and nothing but 503 to what is right',
  ends: 'services recover without a restart: no process ends but those that the case kills, and none fails to start but for want of Postgres',
  logs: 'every service becomes well again, without a growing log',
} as const;
export type Check = keyof typeof CHECKS;

export interface Offence {
  check: Check;
  text: string;
}
