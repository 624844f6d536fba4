import type { Target } from '@punctual/e2e';

/** What is done to a timer after it was created. */
export type Deed =
  | 'nothing'
  /** At some moment while it sleeps, or within 50 ms of its due time. */
  | 'edit'
  | 'editRace'
  | 'cancel'
  | 'cancelRace'
  /** Due in an hour, and fired. */
  | 'fire';

/** Answered clearly, or nobody knows: the request may have taken effect or not. */
export type Certainty = 'no' | 'yes' | 'unknown';

/** One timer: what was asked for, and what was acknowledged. Instants are epoch ms. */
export interface BookedTimer {
  n: number;
  target: Target;
  deed: Deed;
  /** Asked for at first. */
  dueAt: number;
  /** Undefined until the creation is acknowledged. */
  id?: string;
  /** Whether the edit took effect: revision 2 of the payload, due at `editedDueAt`. */
  edited: Certainty;
  editedDueAt: number;
  /** Attempts that had begun, and the time, when the edit was acknowledged. */
  editedAfter?: number;
  editAskedAt?: number;
  editedAckAt?: number;
  cancelled: Certainty;
  cancelledAfter?: number;
  cancelAskedAt?: number;
  cancelledAckAt?: number;
  /** When a fire was acknowledged: it is due from then on. */
  firedAt?: number;
  /** Whether it was asked for again, which may have made a retry due as well. */
  isFireRepeated?: boolean;
}

/** One run of three tasks, of which the second waits for a signal, and is sent all the same when that does not come in time. */
export interface BookedRun {
  n: number;
  id?: string;
  /** How the signal was answered. */
  signal?: 'taken' | 'refused';
}

/** How the API answered. */
export interface AnswerFigures {
  requests: number;
  refused: number;
  /** Connections refused or broken: nobody was there. */
  unanswered: number;
  /** Requests that took longer than the API may, the grace included; and the longest (ms). */
  beyondLimit: number;
  slowestMs: number;
  /** Those that took longer than the grace as well. */
  slow: string[];
  /** Answers that no fault excuses. */
  wrong: string[];
}

/** Everything that the traffic knows. */
export interface Book {
  timers: BookedTimer[];
  runs: BookedRun[];
  answers: AnswerFigures;
}
