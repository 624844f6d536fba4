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
export {
  checkDatabaseReady,
  type InstallOptions,
  migrateDown,
  migrateUp,
  readPartitionCount,
  readPendingMigrations,
} from './migrate.ts';
export { type AbandonedAttempt, cancelRunningTimers } from './queries/cancel-running-timers.ts';
export {
  type CancelledTimer,
  type CancelRequest,
  cancelLoneTimers,
  cancelTimers,
} from './queries/cancel-timers.ts';
export { changeTimers, fireTimer, type TimerEdit } from './queries/change-timers.ts';
export { claimRunExternalIds, findRunsByExternalId, type RunExternalId } from './queries/claim-run-external-ids.ts';
export {
  claimTimerExternalIds,
  findTimersByExternalId,
  releaseTimerExternalId,
} from './queries/claim-timer-external-ids.ts';
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
  type NewTimer,
  type RequestedTimer,
  TIMERS_PER_INSERT_MAX,
} from './queries/create-timers.ts';
export { type FoundApiKey, findApiKey } from './queries/find-api-key.ts';
export {
  type AttemptOutcome,
  type AttemptRecord,
  type FinishedAttempt,
  finishTimers,
  OUTCOMES_PER_STATEMENT_MAX,
  postponeTimers,
  type RescheduledAttempt,
  retryTimers,
} from './queries/finish-timers.ts';
export { foldLedger } from './queries/fold-ledger.ts';
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
  acquirePartitionLeases,
  type HeldLease,
  releasePartitionLeases,
  renewPartitionLeases,
} from './queries/partition-leases.ts';
export { type ExternalIdCursor, pruneExternalIds } from './queries/prune-external-ids.ts';
export { IDEMPOTENCY_KEY_TTL_MS, pruneIdempotencyKeys } from './queries/prune-idempotency-keys.ts';
export {
  readDueTimersOfTenants,
  readTenantIds,
  type TenantDueTimer,
  type TenantReadFrom,
} from './queries/read-due-of-tenants.ts';
export { type DueTimer, type DueTimers, FIRST_ID, type ReadFrom, readDueTimers } from './queries/read-due-timers.ts';
export { type FirstWake, readFirstWakes } from './queries/read-first-wakes.ts';
export {
  LEDGER_LINES_MAX,
  LEDGER_SAMPLES_MAX,
  type LedgerLine,
  type LedgerTotal,
  type OverdueTimer,
  type StuckRun,
} from './queries/read-ledger.ts';
export { type RunTimer, type RunWithTimers, readRuns } from './queries/read-runs.ts';
export { readSigningSecrets, type SigningSecret } from './queries/read-signing-secrets.ts';
export { readRunIdsOfTimers, readTimers } from './queries/read-timers.ts';
export { type Change, type ChangeOrigin, recordChanges } from './queries/record-changes.ts';
export {
  DEAD_LETTERS_PER_REDRIVE_MAX,
  type RedrivenTimer,
  readRunIdsOfDeadLetters,
  redriveTimers,
  reviveRuns,
} from './queries/redrive-timers.ts';
export {
  beatServiceInstance,
  HEARTBEAT_INTERVAL_MS,
  INSTANCE_TTL_MS,
  removeServiceInstance,
  type ServiceInstance,
} from './queries/service-instances.ts';
export {
  readEarlyHints,
  readStandingStarts,
  restartTimers,
  type StartedTimer,
  startTimers,
  type TimerVersion,
} from './queries/start-timers.ts';
export { countLiveTimers, readTenantLimits, type TenantLimits } from './queries/tenant-limits.ts';
export { shareAnswerBytes, type TimerRecord } from './queries/timer-record.ts';
export { type ApiKeySummary, createApiKey, listApiKeys, revokeApiKey } from './repositories/api-keys.repository.ts';
export { listAttempts, type ShownAttempt } from './repositories/attempts.repository.ts';
export {
  type AuditFilter,
  type AuditPage,
  ENTRIES_LOOKED_AT_MAX,
  listAuditEntries,
} from './repositories/audit-log.repository.ts';
export { dismissDeadLetter } from './repositories/dead-letters.repository.ts';
export { type LiveInstance, listInstances } from './repositories/instances.repository.ts';
export type { CreatedAfter, StoredPage } from './repositories/keyset.ts';
export {
  type LedgerDifference,
  type LedgerReport,
  OVERDUE_AFTER_MS_DEFAULT,
  readLedger,
} from './repositories/ledger.repository.ts';
export {
  advanceRuns,
  type BeginningRun,
  beginReadyTasks,
  type EndedTask,
  endRunTimers,
  type LockedRun,
  lockRuns,
  type StartHere,
} from './repositories/run-progress.repository.ts';
export { type ReturningTimer, returnRunTimers } from './repositories/run-retry.repository.ts';
export {
  listRuns,
  type RunFilter,
  readDeadLettersOfRun,
  readWaitingTimersOfRun,
} from './repositories/runs.repository.ts';
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
} from './repositories/workflows.repository.ts';
export { runQuery } from './run-query.ts';
export { nameStatement } from './statement.ts';
export type * from './tables.ts';
export { asTenant, TENANT_ROLE, type TenantDatabase, TenantPool } from './tenant-pool.ts';
export { type StoredTask, type WorkflowVersion, WorkflowVersions } from './workflow-versions.ts';
