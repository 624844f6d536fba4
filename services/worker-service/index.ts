export { readWorkerConfig, type WorkerConfig, WorkerSettings } from './config.ts';
export { createWorkerMetrics } from './metrics.ts';
export { type RunningWorker, startWorker, type WorkerOptions } from './worker.ts';
