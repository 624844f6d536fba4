import type { QueueInfo } from '@punctual/contracts';
import type { Database, DatabaseClock, RequestedTimer, WorkflowVersions } from '@punctual/database';
import type { EgressPolicy, Keyring } from '@punctual/domain';
import type { Logger, Tracing } from '@punctual/runtime';
import type { ApiConfig } from './config.ts';
import type { KnownLimits } from './limits/known-limits.ts';
import type { LiveTimerQuotas } from './limits/live-timer-quotas.ts';
import type { RequestRates } from './limits/request-rates.ts';
import type { ApiMetrics } from './metrics.ts';
import type { BodyRoom } from './plugins/body-room.ts';
import type { KeyedResult } from './plugins/idempotency.ts';
import type { PullSightings } from './pull/pull-sightings.ts';
import type { EndResult, TaskEnd } from './pull/task-ends.ts';
import type { TaskQueues } from './pull/task-queues.ts';
import type { TenantBatchers } from './tenant-batchers.ts';
import type { KeyedTimerRequest } from './timers/keyed-timer-batcher.ts';
import type { WriteBatcher } from './write-batcher.ts';

/** What every route and use case of one api process shares. */
export interface ApiContext {
  readonly config: ApiConfig;
  /**
   * With the rights of the api's own user, on the rows of all tenants: for looking up keys, for the insert that several
   * tenants share, for operators. What is done for one tenant is done by `asTenant(database, tenantId)`.
   */
  readonly database: Database;
  /** Milliseconds of a clock that never goes back: by it what was read from the database grows old. */
  readonly now: () => number;
  /** The database's time, estimated; anchors and due times are reckoned by it. */
  readonly clock: DatabaseClock;
  readonly workflowVersions: WorkflowVersions;
  /** Fixed at install; ids map to partitions by it. */
  readonly partitionCount: number;
  readonly egressPolicy: EgressPolicy;
  /** Seals secrets before they are stored; without keys it can not. */
  readonly keyring: Keyring;
  /** Longest wait of a timer or task (ms). */
  readonly maxWaitMs: number;
  /** What tenants may do at most: how many requests a second, and how many live timers. */
  readonly limits: KnownLimits;
  readonly requestRates: RequestRates;
  readonly liveTimers: LiveTimerQuotas;
  /** The way in for single new timers: concurrent ones share an insert. */
  readonly timerBatcher: WriteBatcher<RequestedTimer, boolean>;
  /** The same for those with external ids. False: the id was taken already. */
  readonly namedTimerBatcher: TenantBatchers<RequestedTimer, boolean>;
  /** The same for those with idempotency keys. */
  readonly keyedTimerBatcher: TenantBatchers<KeyedTimerRequest, KeyedResult>;
  /** Who waits for tasks of pull queues. */
  readonly taskQueues: TaskQueues;
  /** Which workers lease from them. */
  readonly pullSightings: PullSightings;
  /** The way in for ends of single leased tasks. */
  readonly taskEnds: TenantBatchers<TaskEnd, EndResult>;
  /** Signs lease tokens. */
  readonly leaseKey: Buffer;
  readonly bodyRoom: BodyRoom;
  /** Asks the queue for its figures; absent when this process was not told of the queue. May reject. */
  readonly readQueues?: () => Promise<QueueInfo[]>;
  /** Where requests are traced; absent: they are not. */
  readonly tracing?: Tracing;
  readonly metrics: ApiMetrics;
  readonly logger: Logger;
}

/** The anchor of what begins now: the database's time in whole milliseconds, never one that is still to come by much. */
export function readAnchorAt(context: Pick<ApiContext, 'clock'>): number {
  return Math.ceil(context.clock.now());
}
