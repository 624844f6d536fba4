export { readSchedulerConfig, type SchedulerConfig, SchedulerSettings } from './config.ts';
export { createSchedulerMetrics } from './metrics.ts';
export { type RunningScheduler, type SchedulerOptions, startScheduler } from './scheduler.ts';
