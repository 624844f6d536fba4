/** A task that was leased from a queue. */
export interface Task<Payload = unknown, Input = unknown> {
  /** The timer's id, the same on every attempt: what tells a repeat from something new. */
  id: string;
  queue: string;
  runId: string | null;
  taskKey: string | null;
  /** From 1. An attempt that was lost with its worker comes again under its own number. */
  attempt: number;
  payload: Payload;
  /** The input of its run. */
  input: Input;
  /** Outputs of the tasks before it, by their keys. */
  inputs: Readonly<Record<string, unknown>>;
  /** Of a task that runs once per element: the element, and its place among the others. */
  item?: unknown;
  index?: number;
  /** Of a task that waited for a signal, whose payload is `payload`: it did not come in time. */
  timedOut?: boolean;
  /** Aborted when the lease was lost: somebody else may be doing the task already. */
  signal: AbortSignal;
}

/** Does one task. What it returns is the task's output; what it throws fails the attempt, which is retried by the timer's policy. */
// biome-ignore lint/suspicious/noExplicitAny: whoever writes the handler knows what the queue's tasks carry.
export type Handler = (task: Task<any, any>) => unknown;

/** Thrown by a handler: trying again would not help, the task becomes a dead letter. */
export class FinalError extends Error {
  readonly isRetryable = false;

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'FinalError';
  }
}

/** A task as the interface gives it. */
export interface LeasedTask {
  id: string;
  leaseToken: string;
  runId: string | null;
  taskKey: string | null;
  attempt: number;
  payload: unknown;
  input: unknown;
  inputs: Readonly<Record<string, unknown>>;
  item?: unknown;
  index?: number;
  timedOut?: boolean;
}
