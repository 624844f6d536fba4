import { collectDefaultMetrics, Registry } from 'prom-client';

/**
 * A registry for one service, with the process' own figures (CPU, memory, event-loop delay, garbage collection) in it.
 * Each service has its own, so that three in one process do not mix.
 */
export function createMetrics(serviceName: string): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ service: serviceName });
  collectDefaultMetrics({ register: registry });
  return registry;
}

/** Buckets for times from a millisecond to ten minutes, in seconds. */
export const LATENCY_BUCKETS_SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600,
];
