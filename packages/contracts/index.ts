export { Action, HttpAction, NoopAction, PullAction, Retry } from './action.ts';
export {
  DateDelay,
  Delay,
  DelayPreviewAnswer,
  DelayPreviewRequest,
  DurationDelay,
  UntilDelay,
  WeekdayDelay,
} from './delay.ts';
export { discriminatedUnion } from './discriminated-union.ts';
export { RedriveRequest, TimerFilter, TimerFilterQuery, WITH_LABELS } from './filter.ts';
export {
  BATCH_ITEMS_MAX,
  COUNT_MAX,
  CURSOR_LENGTH_MAX,
  EXTERNAL_ID_LENGTH_MAX,
  HISTOGRAM_BUCKETS_MAX,
  JSON_DEPTH_MAX,
  LABEL_KEY_LENGTH_MAX,
  LABEL_VALUE_LENGTH_MAX,
  LABELS_MAX,
  LIVE_TIMERS_LIMIT_MAX,
  NAME_LENGTH_MAX,
  PAGE_ITEMS_DEFAULT,
  PAGE_ITEMS_MAX,
  PAYLOAD_BYTES_MAX,
  QUEUE_NAME_LENGTH_MAX,
  REQUESTS_PER_SECOND_LIMIT_MAX,
  TASK_KEY_LENGTH_MAX,
} from './limits.ts';
export {
  ApiKey,
  ApiKeyRequest,
  AuditEntry,
  CreatedApiKey,
  CreatedSigningSecret,
  CreatedTenant,
  Ledger,
  OVERLAP_SECONDS_DEFAULT,
  QueueInfo,
  SchedulerInstance,
  SigningSecret,
  SigningSecretParams,
  SigningSecretRequest,
  Tenant,
  TenantChange,
  TenantRequest,
  WorkerInstance,
} from './operator.ts';
export {
  CLOSED,
  ExternalId,
  ID_PATTERN,
  Id,
  IdParams,
  Instant,
  Json,
  Labels,
  listOf,
  Name,
  NoBody,
  Page,
  TaskKey,
  TimeoutMs,
  TimeZone,
} from './primitives.ts';
export { Problem } from './problem.ts';
export { ChunkMessage } from './queue-message.ts';
export {
  RUN_STATUSES,
  Run,
  RunBatchAnswer,
  RunBatchItem,
  RunBatchRequest,
  RunRequest,
  RunSummary,
  RunTask,
} from './run.ts';
export {
  Attempt,
  DeadLetter,
  DeadLetterParams,
  RedriveAnswer,
  TIMER_STATUSES,
  Timer,
  TimerBatchAnswer,
  TimerBatchChange,
  TimerBatchRequest,
  TimerChange,
  TimerIdsRequest,
  TimerRequest,
} from './timer.ts';
export { WORKFLOW_STATUSES, Workflow, WorkflowRequest, WorkflowTask, WorkflowVersion } from './workflow.ts';
