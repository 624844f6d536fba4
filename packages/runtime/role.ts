/**
 * A long-lived part of a service. `start` begins its loop, `stop` ends it and resolves when nothing of it runs any
 * more; `stop` is safe early and twice. `runOnce` is one turn, called by the loop and by tests alike.
 */
export interface Role {
  start(): void;
  stop(): Promise<void>;
  runOnce(): Promise<void>;
}
