export { AnnouncementListener, type AnnouncementListenerOptions } from './announcement-listener.ts';
export {
  connectDatabase,
  type Database,
  type DatabaseOptions,
  inTransaction,
  POOLERS,
  type Pooler,
  parseInstant,
  parsePooler,
  type Queryable,
  type Transaction,
  type TransactionPool,
} from './connect.ts';
export { DatabaseClock, readMonotonicMs, synchronizeClock } from './database-clock.ts';
export { isDatabaseUnavailable, isStatementTimeout, PoolExhaustedError } from './errors.ts';
export { describeFlow, FlowReader, type TaskFlow } from './flow-reader.ts';
export { growPartitions, PARTITIONS_MAX } from './grow-partitions.ts';
export {
  checkDatabaseReady,
  type InstallOptions,
  migrateDown,
  migrateUp,
  readPartitionCount,
  readPendingMigrations,
} from './migrate.ts';
export {
  type AttemptResult,
  decideOutcome,
  giveUpLost,
  giveUpUnsent,
  giveUpWaiting,
  hold,
  type Outcome,
  postpone,
  type Started,
} from './outcome.ts';
export {
  ANNOUNCEMENT_CHANNEL,
  type AnnouncedQueue,
  announceQueues,
  parseAnnouncement,
} from './queries/announce-queues.ts';
export {
  abortReleasesOf,
  BULK_FAILURES_MAX,
  BULK_OPERATIONS_UNFINISHED_MAX,
  type BulkPlan,
  type BulkSource,
  countLiveRuns,
  createBulkOperation,
  createDryRun,
  findReleaseOf,
  findShiftOf,
  hasBulkOperationsEnough,
  hasParked,
  listBulkFailures,
  listBulkOperations,
  lockBulkOperation,
  lockFailedShiftOf,
  type NewBulkOperation,
  type Reschedule,
  readBulkOperation,
  readPlan,
  setBulkStatus,
  startLanes,
} from './queries/bulk-operations.ts';
export {
  type BulkFailure,
  type BulkPortion,
  bookBulkPortion,
  dropBulkPortions,
  halveBulkPortion,
  hasBulkPortions,
  listBulkTargets,
  lookAtBulkOperation,
  takeBulkPortion,
  tryLockBulkOperation,
} from './queries/bulk-portions.ts';
export { type AbandonedAttempt, cancelRunningTimers } from './queries/cancel-running-timers.ts';
export {
  type CancelledTimer,
  type CancelRequest,
  cancelLoneTimers,
  cancelTimers,
  TIMERS_PER_CANCEL_MAX,
} from './queries/cancel-timers.ts';
export { changeTimers, fireTimer, type TimerEdit } from './queries/change-timers.ts';
export { claimRunExternalIds, findRunsByExternalId, type RunExternalId } from './queries/claim-run-external-ids.ts';
export {
  claimTimerExternalIds,
  findTimersByExternalId,
  releaseTimerExternalId,
} from './queries/claim-timer-external-ids.ts';
export { countDueSoon } from './queries/count-due-soon.ts';
export { createDeadTimers, type DeadTimer } from './queries/create-dead-timers.ts';
export { createNamedTimers } from './queries/create-named-timers.ts';
export {
  createRuns,
  type NewRun,
  RUNS_PER_INSERT_MAX,
  readWorkflowHeads,
  type WorkflowHead,
} from './queries/create-runs.ts';
export { VERSION_STARTED_AT_ONCE } from './queries/create-started-timers.ts';
export {
  createRequestedTimers,
  createSkippedTimers,
  createTimers,
  type RequestedTimer,
  TIMERS_PER_INSERT_MAX,
} from './queries/create-timers.ts';
export {
  readDatabaseFigures,
  readTenantFigures,
  TENANTS_SHOWN_MAX,
  type TenantFigures,
} from './queries/database-figures.ts';
export {
  addErasure,
  ERASURES_PER_WALK_MAX,
  forgetErasures,
  listErasures,
  overwriteAnswersAbout,
  STATUS_ERASED,
} from './queries/erasures.ts';
export { type FoundApiKey, findApiKey } from './queries/find-api-key.ts';
export {
  type AttemptOutcome,
  type AttemptRecord,
  type FinishedAttempt,
  finishAndCountTimers,
  finishTimers,
  OUTCOMES_PER_STATEMENT_MAX,
  postponeTimers,
  type RescheduledAttempt,
  retryTimers,
} from './queries/finish-timers.ts';
export { foldLedger } from './queries/fold-ledger.ts';
export {
  announceGates,
  cancelByGate,
  closeGate,
  countUnheedingWorkers,
  forgetCancel,
  GATES_KNOWN_FOR_MS,
  GATES_MAX,
  GATES_PER_TENANT_MAX,
  type Gate,
  type GateKey,
  type GateKind,
  hasGatesEnough,
  heedGates,
  listGates,
  lockGate,
  lookAtGates,
  nameParking,
  openGate,
  readAllGates,
  readGate,
  readGates,
  readGatesEpoch,
} from './queries/gates.ts';
export { keepHistoryDays } from './queries/history-days.ts';
export {
  findIdempotentAnswers,
  IDEMPOTENCY_KEYS_PER_TRANSACTION_MAX,
  type IdempotencyKey,
  type IdempotentAnswer,
  storeIdempotentAnswers,
  tryLockIdempotencyKeys,
} from './queries/idempotent-answers.ts';
export {
  countOtherLimits,
  dropLimit,
  type LaneLimit,
  LIMITS_PER_TENANT_MAX,
  listLimits,
  nameLimitLane,
  readLimits,
  setLimit,
} from './queries/lane-limits.ts';
export { dropIdleLanes, type LaneKey, readLanesOfTimers } from './queries/lanes.ts';
export {
  extendLeases,
  type LanedPull,
  type LapsedTimer,
  LEASES_PER_STATEMENT_MAX,
  type LeasedTimer,
  type LeaseSlot,
  leaseLanedTimers,
  leaseTimers,
  readLeaseKey,
  readNextLease,
  reletTimers,
  resumeLeases,
} from './queries/lease-timers.ts';
export type { NewTimer } from './queries/new-timer-columns.ts';
export {
  acquirePartitionLeases,
  countUnownedPartitions,
  type HeldLease,
  releasePartitionLeases,
  renewPartitionLeases,
} from './queries/partition-leases.ts';
export {
  createParkedTimers,
  type DueTimes,
  PARKED_FOR_RUN,
  pauseTimers,
  type ResumeManner,
  readParkedFor,
  releaseTimers,
  resumeTimers,
} from './queries/pause-timers.ts';
export { type ExternalIdCursor, pruneExternalIds } from './queries/prune-external-ids.ts';
export { IDEMPOTENCY_KEY_TTL_MS, pruneIdempotencyKeys } from './queries/prune-idempotency-keys.ts';
export {
  forgetPullWorkers,
  listPullWorkers,
  notePullWorkers,
  PULL_WORKERS_PER_TENANT_MAX,
  type PullWorker,
  type PullWorkerSighting,
} from './queries/pull-workers.ts';
export { type RaisedDueTimer, readDueByPriority } from './queries/read-due-by-priority.ts';
export {
  readDueTimersOfTenants,
  readTenantIds,
  type TenantDueTimer,
  type TenantReadFrom,
} from './queries/read-due-of-tenants.ts';
export {
  type DuePulls,
  NOTHING_SEEN,
  type PullReadFrom,
  readDuePulls,
  type SeenPast,
} from './queries/read-due-pulls.ts';
export { type DueTimer, type DueTimers, FIRST_ID, type ReadFrom, readDueTimers } from './queries/read-due-timers.ts';
export { type FirstWake, readFirstWakes } from './queries/read-first-wakes.ts';
export {
  LEDGER_LINES_MAX,
  LEDGER_QUERY_TIMEOUT_MS,
  LEDGER_SAMPLES_MAX,
  type LedgerLine,
  type LedgerTotal,
  type OverdueTimer,
  type StuckRun,
} from './queries/read-ledger.ts';
export { INSTANCES_READ_MAX, type RunTimer, type RunWithTimers, readRuns } from './queries/read-runs.ts';
export { readSigningSecrets, type SigningSecret } from './queries/read-signing-secrets.ts';
export { readRunIdsOfTimers, readTimers } from './queries/read-timers.ts';
export { readUpcoming, UPCOMING_COUNTED_MAX, type Upcoming } from './queries/read-upcoming.ts';
export { type Change, type ChangeOrigin, recordChanges } from './queries/record-changes.ts';
export {
  DEAD_LETTERS_PER_REDRIVE_MAX,
  type RedrivenTimer,
  readRunIdsOfDeadLetters,
  redriveTimers,
  reviveRuns,
} from './queries/redrive-timers.ts';
export { type EndedRun, removeHistoryOfRuns, removeRuns } from './queries/remove-runs.ts';
export { removeEndedTimer } from './queries/remove-timer.ts';
export {
  type InstallationRetention,
  type Keeper,
  listKeepingTenants,
  listKeepingWorkflows,
  OPERATIONS_REMOVED_MAX,
  type RunCursor,
  readLongestRetention,
  removePastOperations,
  TIMERS_REMOVED_MAX,
} from './queries/retention.ts';
export {
  endRunReview,
  hasLiveTimer,
  type ReviewCursor,
  type RunReview,
  readRunReview,
  readStuckRunIds,
} from './queries/run-review.ts';
export {
  deliverSignals,
  SIGNAL_BYTES_PER_RUN_MAX,
  SIGNALS_PER_RUN_MAX,
  type SignalledTimer,
  storeSignal,
} from './queries/run-signals.ts';
export {
  armSchedule,
  createSchedule,
  deleteSchedule,
  hasSchedulesEnough,
  listSchedules,
  lockSchedule,
  openOccurrences,
  readSchedule,
  readSpec,
  SCHEDULES_PER_TENANT_MAX,
  type ScheduleSpec,
  saveSchedule,
} from './queries/schedules.ts';
export {
  type Beat,
  beatServiceInstance,
  HEARTBEAT_INTERVAL_MS,
  INSTANCE_TTL_MS,
  removeServiceInstance,
  type ServiceInstance,
} from './queries/service-instances.ts';
export {
  type LaneWish,
  readEarlyHints,
  readLaneWishes,
  readStandingStarts,
  restartTimers,
  type StartedTimer,
  startLanedTimers,
  startTimers,
  type TimerVersion,
} from './queries/start-timers.ts';
export { type DrainableRole, endSurplusLeases, type SteerOutcome, steerInstance } from './queries/steer-instances.ts';
export {
  type OutputWish,
  readRunInputs,
  readRunStates,
  readTaskOutputs,
  storeTaskOutputs,
  type TaskOutput,
} from './queries/task-outputs.ts';
export { readTaskQueues, TASK_QUEUES_MAX, type TaskQueueFigures } from './queries/task-queue-figures.ts';
export { countLiveTimers, readTenantLimits, type TenantLimits } from './queries/tenant-limits.ts';
export { shareAnswerBytes, type TimerRecord } from './queries/timer-record.ts';
export { pruneTraces, readTraces, readTracesOfTimers, recordTraces } from './queries/trace-contexts.ts';
export { type ApiKeySummary, createApiKey, listApiKeys, revokeApiKey } from './repositories/api-keys.repository.ts';
export { listAttempts, type ShownAttempt } from './repositories/attempts.repository.ts';
export {
  type AuditFilter,
  type AuditPage,
  ENTRIES_LOOKED_AT_MAX,
  listAuditEntries,
} from './repositories/audit-log.repository.ts';
export { type BulkResult, doBulkPortion } from './repositories/bulk-actions.repository.ts';
export { dismissDeadLetter } from './repositories/dead-letters.repository.ts';
export { type GatedTimer, holdTimers } from './repositories/hold-timers.repository.ts';
export { type LiveInstance, listInstances } from './repositories/instances.repository.ts';
export type { CreatedAfter, StoredPage } from './repositories/keyset.ts';
export {
  type LanedTimer,
  listTimerLanes,
  startInLanes,
  type TimerLane,
  wakeLanes,
  wakeNeglectedLanes,
} from './repositories/lanes.repository.ts';
export {
  type LedgerDifference,
  type LedgerReport,
  OVERDUE_AFTER_MS_DEFAULT,
  readLedger,
} from './repositories/ledger.repository.ts';
export { type MendedRun, mendRun } from './repositories/mend-runs.repository.ts';
export { type Redriven, redriveDeadLetters } from './repositories/redrive.repository.ts';
export { removePastLettersOf, removePastRuns, removePastTimersOf } from './repositories/retention.repository.ts';
export {
  type BegunRun,
  beginRun,
  beginsByInput,
  prepareBeginning,
  type RunBeginning,
  type RunOrder,
  storeRuns,
} from './repositories/run-beginning.repository.ts';
export { RunFacts, WHEN_COST_PER_RUN_MAX } from './repositories/run-facts.ts';
export {
  advanceRuns,
  type BeginningRun,
  describeEnd,
  type EndedTask,
  endRunTimers,
  type LockedRun,
  lockRuns,
  type StartHere,
} from './repositories/run-progress.repository.ts';
export { type ReturningTimer, returnRunTimers, returnRunTimersWithin } from './repositories/run-retry.repository.ts';
export {
  admitOutputs,
  type BegunTimers,
  beginFirstNodes,
  beginReadyNodes,
  describeTree,
  type EndingTask,
  type MappedRun,
} from './repositories/run-trees.repository.ts';
export {
  listRuns,
  pauseLockedRun,
  type RunFilter,
  readDeadLettersOfRun,
  readExternalIdOfRun,
  readRunAge,
  readWaitingTimersOfRun,
  resumeLockedRun,
} from './repositories/runs.repository.ts';
export {
  makeScheduledTimer,
  nameOccurrence,
  type ScheduleTurn,
  turnSchedule,
} from './repositories/schedule-turns.repository.ts';
export {
  ACTION_TABLES,
  type ActionTable,
  countSecretsLeft,
  type SealedActions,
  type SecretsLeft,
  sealStoredActions,
} from './repositories/seal-actions.ts';
export {
  describeSealingObstacle,
  type OtherApi,
  readSealingState,
  resealSigningSecrets,
  type SealingState,
  sealPlainSecrets,
} from './repositories/seal-signing-secrets.ts';
export {
  addSigningSecret,
  deleteSigningSecret,
  expireOtherSecrets,
  listSigningSecrets,
  lockTenantSecrets,
  type NewSigningSecret,
  pruneSigningSecrets,
  type SigningSecretSummary,
} from './repositories/signing-secrets.repository.ts';
export {
  changeTenant,
  createTenant,
  hasTenant,
  listTenants,
  type NewTenant,
  type TenantChange,
  type TenantSummary,
} from './repositories/tenants.repository.ts';
export {
  countTimers,
  type DueAfter,
  type HistogramBucket,
  listDeadLetters,
  listTimers,
  readTimerHistogram,
  type TimerCondition,
} from './repositories/timers.repository.ts';
export {
  addWorkflowVersion,
  archiveWorkflow,
  createWorkflow,
  listWorkflows,
  listWorkflowVersions,
  lockWorkflow,
  type NewWorkflow,
  readWorkflow,
  type StoredWorkflow,
  setWorkflowActive,
  setWorkflowPaused,
} from './repositories/workflows.repository.ts';
export { runQuery } from './run-query.ts';
export { nameStatement } from './statement.ts';
export type * from './tables.ts';
export { asTenant, TENANT_ROLE, type TenantDatabase, TenantPool } from './tenant-pool.ts';
export { type StoredTask, type WorkflowVersion, WorkflowVersions } from './workflow-versions.ts';
