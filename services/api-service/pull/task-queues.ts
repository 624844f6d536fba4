import type { AnnouncedQueue, StartedTimer } from '@punctual/database';
import type { ApiContext } from '../context.ts';
import { createOverloaded, ProblemError } from '../problem.ts';
import { type LeaseWish, TaskQueue } from './task-queue.ts';

/** Queues that are kept while nobody waits there: what they know of their queue spares the next lease some work. */
const IDLE_QUEUES_MAX = 1_000;
/** While this api hears what schedulers announce it looks for what it may have missed so often (ms), and otherwise so often. */
const LISTENING_LOOK_MS = 10_000;
const DEAF_LOOK_MS = 500;

/**
 * Everybody who waits for tasks at this api. Waiting costs memory and a connection of the client's, nothing in the database;
 * how many may wait is bounded, in all and for each tenant.
 */
export class TaskQueues {
  readonly #context: ConstructorParameters<typeof TaskQueue>[0]['context'] & Pick<ApiContext, 'config'>;
  readonly #queues = new Map<string, TaskQueue>();
  readonly #waitingByTenant = new Map<string, number>();
  #waiting = 0;
  #isListening = false;
  #isStopped = false;

  constructor(context: ConstructorParameters<typeof TaskQueue>[0]['context'] & Pick<ApiContext, 'config'>) {
    this.#context = context;
  }

  /** Requests that wait for a task. */
  get waitingCount(): number {
    return this.#waiting;
  }

  /** As TaskQueue's. Rejects with 429 or 503 when too many wait already. */
  async lease(tenantId: string, queue: string, wish: LeaseWish): Promise<StartedTimer[]> {
    if (wish.waitMs === 0) return this.#get(tenantId, queue).lease(wish);
    const ofTenant = this.#waitingByTenant.get(tenantId) ?? 0;
    const { API_LEASE_WAITS_MAX, API_LEASE_WAITS_PER_TENANT_MAX } = this.#context.config;
    if (ofTenant >= API_LEASE_WAITS_PER_TENANT_MAX) {
      throw new ProblemError(429, 'too_many_waiting', 'Too many requests of the tenant wait for tasks.', {
        headers: { 'retry-after': '1' },
      });
    }
    if (this.#waiting >= API_LEASE_WAITS_MAX)
      throw createOverloaded('Too many requests wait for tasks; try again later.');
    this.#waiting += 1;
    this.#waitingByTenant.set(tenantId, ofTenant + 1);
    try {
      return await this.#get(tenantId, queue).lease(wish);
    } finally {
      this.#waiting -= 1;
      const left = this.#waitingByTenant.get(tenantId)! - 1;
      if (left > 0) this.#waitingByTenant.set(tenantId, left);
      else this.#waitingByTenant.delete(tenantId);
    }
  }

  /** There is something to lease in these queues. */
  announce(queues: readonly AnnouncedQueue[]): void {
    for (const { tenantId, queue } of queues) this.#queues.get(nameQueue(tenantId, queue))?.hint();
  }

  /** Whether announcements are heard. What was announced before was not, so whoever waits has another look. */
  setListening(isListening: boolean): void {
    this.#isListening = isListening;
    for (const queue of this.#queues.values()) queue.hint();
  }

  /** Ends all waits; whoever comes later does not wait. */
  stop(): void {
    this.#isStopped = true;
    for (const queue of this.#queues.values()) queue.stop();
  }

  #get(tenantId: string, name: string): TaskQueue {
    const key = nameQueue(tenantId, name);
    let queue = this.#queues.get(key);
    if (!queue) {
      if (this.#queues.size >= IDLE_QUEUES_MAX) {
        for (const [other, { isIdle }] of this.#queues) if (isIdle) this.#queues.delete(other);
      }
      queue = new TaskQueue({
        context: this.#context,
        tenantId,
        queue: name,
        readLookMaxMs: () => (this.#isListening ? LISTENING_LOOK_MS : DEAF_LOOK_MS),
      });
      if (this.#isStopped) queue.stop();
      this.#queues.set(key, queue);
    }
    return queue;
  }
}

/** Neither has spaces. */
function nameQueue(tenantId: string, queue: string): string {
  return `${tenantId} ${queue}`;
}
