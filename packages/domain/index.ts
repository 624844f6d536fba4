export { ACTORS, type Actor, AUDIT_ACTIONS, type AuditAction } from './audit/audit-action.ts';
export {
  type DelayNote,
  type DelayRule,
  DURATION_UNITS,
  LAST_INSTANT_MS,
  LEAP_DAY_CHOICES,
  LOCAL_TIME_PATTERN,
  MAX_WAIT_MS_DEFAULT,
  ON_PAST_CHOICES,
  WEEKDAYS,
  YEAR_MAX,
  YEAR_MIN,
} from './delay/delay-rule.ts';
export { type Anchor, checkWait, computeDueAt, type DueTime } from './delay/due-time.ts';
export { formatInstant, parseInstant } from './delay/instant.ts';
export { type DelayPreview, previewDelay } from './delay/preview-delay.ts';
export {
  computeWait,
  ON_TIMEOUT_CHOICES,
  type OnTimeout,
  readOnTimeout,
  SIGNAL_NAME_LENGTH_MAX,
  SIGNAL_NAME_PATTERN,
  type SignalDelay,
  type TaskDelay,
  validateSignalDelay,
  type Wait,
} from './delay/signal-delay.ts';
export { canonicalTimeZone, isKnownTimeZone } from './delay/time-zone.ts';
export { FAULTS_MAX, validateDelay } from './delay/validate-delay.ts';
export {
  ACTION_HEADERS_BYTES_MAX,
  ACTION_HEADERS_MAX,
  ACTION_METHODS,
  type ActionMethod,
  isReservedHeader,
  validateActionHeaders,
} from './egress/action-headers.ts';
export { EGRESS_RANGES_MAX, EgressSettingError } from './egress/cidr.ts';
export {
  createEgressPolicy,
  type EgressPolicy,
  type EgressRanges,
  URL_LENGTH_MAX,
  type UrlCheck,
} from './egress/egress-policy.ts';
export {
  type ActionTemplate,
  type CompiledAction,
  compileAction,
  EXPRESSIONS_PER_ACTION_MAX,
  EXPRESSIONS_PER_WORKFLOW_MAX,
} from './expression/action-template.ts';
export {
  type CostPurse,
  compileExpression,
  EXPRESSION_LENGTH_MAX,
  type Expression,
  ExpressionError,
  type ExpressionValues,
} from './expression/expression.ts';
export { VALUE_DEPTH_MAX } from './expression/json-value.ts';
export {
  collectNeeds,
  EXPRESSIONS_PER_TEXT_MAX,
  parseTemplate,
  renderText,
  type Template,
} from './expression/template.ts';
export type { Fault } from './fault.ts';
export { choosePartition, createId, DEFAULT_TENANT_ID, isId, SYSTEM_TENANT_ID } from './identity.ts';
export {
  CONCURRENCY_KEY_LENGTH_MAX,
  type Concurrency,
  checkRenderedKey,
  completeLaneRule,
  describeKey,
  LANE_LIMIT_MAX,
  type LaneRule,
  renderFirstKey,
} from './lanes/concurrency.ts';
export {
  type Candidate,
  compareTurns,
  decideTurns,
  describeRate,
  type LaneDecision,
  type LaneView,
  WAKES_PER_LANE_MAX,
  type WaitingTurn,
} from './lanes/lane-turns.ts';
export {
  LANE_HEAD_START_MS,
  PLACES_PER_PLAIN_ONE,
  PRIORITY_MAX,
  toStoredPriority,
} from './priority/priority.ts';
export {
  BACKOFF_MAX_MS,
  completeRetryPolicy,
  computeBackoffMs,
  LOST_IN_A_ROW_MAX,
  type PartialRetryPolicy,
  RETRIES_MAX,
  RETRY_AFTER_MAX_MS,
  RETRY_DEFAULT,
  type RetryPolicy,
} from './retry/backoff.ts';
export { createOccurrences, type Occurrence, type Occurrences, type ScheduleTimes } from './schedule/occurrences.ts';
export {
  CRON_LENGTH_MAX,
  MISSED_CHOICES,
  type MissedPolicy,
  OVERLAP_CHOICES,
  type Overlap,
  type ScheduleRule,
  validateScheduleRule,
} from './schedule/schedule-rule.ts';
export { MISSED_AFTER_MS, OCCURRENCES_PER_TURN_MAX, type ScheduleProgress, takeDue } from './schedule/take-due.ts';
export {
  ENCRYPTION_KEYS_MAX,
  EncryptionKeysError,
  findEncryptionKeyFaults,
  isSealedText,
  Keyring,
  parseEncryptionKeys,
  SEALED_PREFIX,
  type SealedBytes,
  UnreadableSecretError,
} from './secrets/keyring.ts';
export { createLeaseToken, type Lease, readLeaseToken } from './secrets/lease-token.ts';
export {
  HARMLESS_NAME_PATTERN,
  hasMask,
  isSecretHeader,
  maskAction,
  maskActionText,
  openAction,
  resealAction,
  SECRET_MASK,
  SECRET_NAME_PATTERN,
  sealAction,
} from './secrets/secret-headers.ts';
export { describeSigningSecret, SIGNING_SECRETS_MAX } from './secrets/signing-secret.ts';
export {
  type Action,
  FINAL_STATES,
  type FinalState,
  LIVE_STATES,
  type LiveState,
  type SystemAction,
  TIMEOUT_MS_DEFAULT,
  TIMEOUT_MS_MAX,
  TIMEOUT_MS_MIN,
} from './timer.ts';
export {
  advanceTree,
  type FlowData,
  type FlowNode,
  type FlowSteps,
  listAllNodes,
  listFirstNodes,
  listUnlocked,
} from './workflow/run-flow.ts';
export {
  beginTaskStates,
  computeRunStatus,
  decodeTaskStates,
  encodeTaskStates,
  findReadyChildren,
  findReadyTasks,
  findTaskIndex,
  type RunStatus,
  type TaskState,
} from './workflow/run-progress.ts';
export {
  beginRunTree,
  computeTreeStatus,
  decodeRunTree,
  ELEMENTS_PER_RUN_MAX,
  encodeRunTree,
  findInstance,
  findOpening,
  formatPath,
  getTaskState,
  mayBegin,
  OUTPUTS_PER_RUN_MAX,
  parsePath,
  type RunTree,
  readOutputLength,
  setTaskState,
  type TaskPath,
  viewOutputs,
  visitStates,
} from './workflow/run-tree.ts';
export {
  type FlowTask,
  homeOf,
  isAround,
  isBodyless,
  parsePointer,
  planRun,
  type RunPlan,
  readPointer,
  SCOPE_DEPTH_MAX,
  type Scope,
  validateTaskFlow,
} from './workflow/task-flow.ts';
export {
  PARENTS_PER_TASK_MAX,
  TASKS_PER_WORKFLOW_MAX,
  type TaskNode,
  validateTaskGraph,
} from './workflow/task-graph.ts';
