/** What a load script and the proof after it are told by the runner. Times in ms unless the name says otherwise. */
export interface Plan {
  apiUrl: string;
  /** API key; empty when the api asks for none. */
  key: string;
  /** Where timers are delivered to, and where the receiver tells what came. */
  hookUrl: string;
  receiptsUrl: string;
  /** Begun iterations a second; of `spike`, those before and after it. */
  rate: number;
  seconds: number;
  limits: Limits;
  /** Written by the load script, a line for each answer that promises something; read by the proof. */
  journal: string;
  /** Where the script leaves its summary (JSON). */
  summary: string;
}

/** Thresholds that depend on the load and the machine; all others are absolute. */
export interface Limits {
  /** From request to answer of a create, 95th percentile. */
  answerP95Ms: number;
  /** Receipt minus due time, 95th percentile. */
  latenessP95Ms: number;
  /** By how much that percentile may grow from the first quarter of the timers to the last; absent: not judged. */
  driftMs?: number;
}

/** Name of the environment variable that carries the plan as JSON: one variable, so that no setting is forgotten. */
export const PLAN_VARIABLE = 'LOADTEST_PLAN';
/** A timer is due this long after it is asked for. */
export const DELAY_MS = { min: 1_000, max: 5_000 };
/** The spike is so many times the rate around it, for the middle half of the time. */
export const SPIKE_FACTOR = 10;
