export { Agenda } from './agenda.ts';
export { Batcher, type BatcherOptions } from './batcher.ts';
export { answerBareRefusals, answerClientError, HTTP_SERVER_OPTIONS, REQUEST_HEAD_BYTES_MAX } from './client-errors.ts';
export { ConfigError, describeSetting, type RelationCheck, readConfig, splitList } from './config.ts';
export { type CheckResult, Health, type HealthReport } from './health.ts';
export { DRAIN_TIMEOUT_MS_DEFAULT, stopOnSignals } from './lifecycle.ts';
export { limitRate, OUTAGE_LOG_INTERVAL_MS } from './limit-rate.ts';
export { createLogger, type Logger, type LogLevel } from './logger.ts';
export { Loop, type LoopOptions } from './loop.ts';
export { LoopedRole, type LoopedRoleOptions } from './looped-role.ts';
export { createMetrics, LATENCY_BUCKETS_SECONDS } from './metrics.ts';
export { addOpsRoutes, type Ops, openOps, startOpsServer } from './ops-routes.ts';
export { QUEUE_SETTINGS } from './queue-settings.ts';
export type { Role } from './role.ts';
export { runService } from './run-service.ts';
export { addSecurityHeaders, SECURITY_HEADERS } from './security-headers.ts';
export {
  describeTrace,
  type OpenSpan,
  openTracing,
  readTraceparent,
  TRACING_SETTINGS,
  type Tracing,
  type TracingConfig,
} from './tracing.ts';
export { VERSION } from './version.ts';
