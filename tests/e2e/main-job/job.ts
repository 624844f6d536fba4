import { constants, setPriority } from 'node:os';
import { type RunningStack, startStack } from '@punctual/local-servers';
import { emptyRedis, repeatUnderFaults, waitUntil } from '@punctual/testkit';
import { ApiClient, send, type Timer } from '../api-client.ts';
import * as changes from './change-timers.ts';
import { createTimers, type TrafficTimes } from './create-timers.ts';
import { type Kill, killService } from './kills.ts';
import { type Receivers, startReceivers } from './receivers.ts';
import { type BookedRun, beginRuns, cancelRuns, type RunKind, readRuns } from './runs.ts';
import { type BookedTimer, planTimers, type Role, type RoleCounts } from './timer-book.ts';

export interface JobOptions {
  processes: { api: number; scheduler: number; worker: number };
  queue: 'redis' | 'postgres';
  timers: number;
  roles: RoleCounts;
  runs: Record<RunKind, number>;
  runsCancelled: number;
  times: Omit<TrafficTimes, 'beganAt'>;
  /** What happens after how many requests: a process is killed, replaced after being killed, or Redis is emptied. */
  faults: { afterDeliveries: number; kill?: string; thenAdd?: 'scheduler' | 'worker'; flushRedis?: boolean }[];
}

/** How often a request that is answered 503 is sent again: a busy machine gives those, and says when. */
const REPEATS_MAX = 5;

/** Everything that was acknowledged, and everything that was received. */
export interface JobRecord {
  timers: BookedTimer[];
  runs: BookedRun[];
  receivers: Receivers;
  kills: Kill[];
  /** Taken every now and then, the last one after everything has ended. */
  ledgers: Ledger[];
  /** All timers as the API lists them at the end. */
  listed: Timer[];
  deadLetters: Timer[];
  api: ApiClient;
  /** Seconds, for people. */
  took: Record<string, number>;
}

export interface Ledger {
  isBalanced: boolean;
  total: Record<
    'created' | 'scheduled' | 'running' | 'paused' | 'succeeded' | 'dead' | 'cancelled' | 'skipped',
    number
  >;
  overdueCount: number;
  overdueTimers: unknown[];
  stuckRunCount: number;
}

/**
 * Few requests at once, so that a machine that is busy with other things is late rather than out of time; and a lease
 * that outlasts the time-out by little, so that what a killed worker had in hand comes back soon.
 */
const WORKER_SETTINGS = { WORKER_ATTEMPTS_PER_ORIGIN: '32', WORKER_LEASE_MARGIN_MS: '8000' };
/** A run takes some seconds, so the last ones begin earlier than the last timers. */
const RUNS_SHARE = 0.8;
const LEDGER_INTERVAL_MS = 1_000;
/** From the last creation to the end of everything. */
const DRAIN_LIMIT_MS = 120_000;

/** Runs the whole job and returns what was seen; the stack still runs, for questions. Judging is the caller's. */
export async function runJob(options: JobOptions, stack: RunningStack, receivers: Receivers): Promise<JobRecord> {
  const api = new ApiClient(stack.apiUrls, REPEATS_MAX);
  const took: Record<string, number> = {};
  const beganAt = performance.now();
  const mark = (name: string) => {
    took[name] = Math.round((performance.now() - beganAt) / 100) / 10;
  };
  const faults = cause(options, stack, receivers);
  const ledgers: Ledger[] = [];
  let hasEnded = false;
  const watching = watchLedger(api, ledgers, () => hasEnded);
  // What fails first is what is told; nothing is left running behind it.
  try {
    const planned = Map.groupBy(planTimers(options.timers, options.roles), ({ role }) => role === 'plain');
    const times = { ...options.times, beganAt: Date.now() };
    const special = await createTimers(api, receivers, planned.get(false) ?? [], times, 'atOnce');
    mark('first created');
    const having = (...roles: Role[]) => special.filter(({ role }) => roles.includes(role));
    const [plain, runs] = await Promise.all([
      createTimers(api, receivers, planned.get(true) ?? [], times, 'paced'),
      workRuns(options, times, api, receivers),
      changes.raceWithStarts(api, having('cancelRace', 'changeRace')),
      changes.actBetweenAttempts(api, receivers, having('cancelBetween', 'changeBetween')),
      changes.cancelTimers(api, having('cancel', 'far')),
      changes.changeTimers(api, having('change')),
      changes.fireTimers(api, having('fire')),
    ]);
    const timers = [...special, ...plain];
    mark('changed and cancelled');
    const kills = await faults;
    mark('last fault');
    // When time is up all the same, the checks name what is missing.
    const isDone = () => ledgers.length > 0 && isAtRest(ledgers.at(-1)!);
    await waitUntil('no timer is live any more', isDone, DRAIN_LIMIT_MS).catch(() => {});
    mark('ended');
    hasEnded = true;
    await watching;
    ledgers.push(await readLedger(api));
    await receivers.readAll();
    await readRuns(api, runs);
    const listed = await api.list<Timer>('/v1/timers');
    const deadLetters = await api.list<Timer>('/v1/dead-letters');
    mark('read');
    return { timers, runs, receivers, kills, ledgers, listed, deadLetters, api, took };
  } finally {
    hasEnded = true;
    await Promise.allSettled([faults, watching]);
  }
}

/** Starts what a job runs on. */
export async function startJobStack(
  options: JobOptions,
): Promise<{ stack: RunningStack; receivers: Receivers; stop(): Promise<void> }> {
  const receivers = await startReceivers();
  const stack = await startStack({
    ...options.processes,
    ...(options.queue === 'postgres' && { redisUrl: null }),
    ephemeral: true,
    env: { LOG_LEVEL: 'warn' },
    envOf: { worker: WORKER_SETTINGS },
    // Tells of the processes that are killed, as they should be.
    log: () => {},
  });
  // The receivers stand for other people's machines: they must not wait for a core until the services are done with it.
  for (const { name, pid } of stack.processes)
    if (!name.startsWith('api')) setPriority(pid, constants.priority.PRIORITY_BELOW_NORMAL);
  return {
    stack,
    receivers,
    stop: async () => {
      await stack.stop();
      await receivers.stop();
    },
  };
}

/** Begins the runs, over most of the traffic's time, and cancels some of them. */
async function workRuns(
  options: JobOptions,
  { beganAt, spreadMs }: TrafficTimes,
  api: ApiClient,
  receivers: Receivers,
): Promise<BookedRun[]> {
  const runs = await beginRuns(api, receivers, options.runs, { beganAt, spreadMs: spreadMs * RUNS_SHARE });
  const whole = runs.filter(({ kind }) => kind === 'whole');
  await cancelRuns(api, receivers, whole.slice(-options.runsCancelled));
  return runs;
}

async function cause({ faults }: JobOptions, stack: RunningStack, { deliveries }: Receivers): Promise<Kill[]> {
  const kills: Kill[] = [];
  for (const fault of faults) {
    await waitUntil(
      `${fault.afterDeliveries} requests came`,
      () => deliveries.length >= fault.afterDeliveries,
      DRAIN_LIMIT_MS,
    );
    if (fault.kill) kills.push(await killService(stack, fault.kill, deliveries));
    if (fault.thenAdd) await stack.add(fault.thenAdd);
    if (fault.flushRedis) await emptyRedis(stack.redisUrl!);
  }
  return kills;
}

async function readLedger(api: ApiClient): Promise<Ledger> {
  return api.expect<Ledger>([200], 'GET', '/v1/ledger');
}

function isAtRest({ total }: Ledger): boolean {
  return total.scheduled + total.running + total.paused === 0;
}

async function watchLedger(api: ApiClient, ledgers: Ledger[], hasEnded: () => boolean): Promise<void> {
  while (!hasEnded()) {
    ledgers.push(await readLedger(api));
    await new Promise((resolve) => setTimeout(resolve, LEDGER_INTERVAL_MS));
  }
}

const OPS_PATHS = ['/v1/health', '/v1/health/live', '/v1/health/ready', '/metrics'];

/** While faults are injected a probe may meet one; it asks again then, as orchestrators do. */
async function askPatiently(url: string): Promise<{ status: number } | undefined> {
  const ask = async () => {
    const answer = await send(url);
    if (answer.status !== 200) throw new Error(`${url} was answered ${answer.status}`);
    return answer;
  };
  return repeatUnderFaults(ask).catch(() => undefined);
}

/** The questions that services which should still run do not answer with 200. */
export async function listSickServices(stack: RunningStack, killed: readonly string[]): Promise<string[]> {
  const running = stack.processes.filter(({ name }) => !killed.includes(name));
  const questions = running.flatMap(({ name, url }) => OPS_PATHS.map((path) => ({ name, path, url: url + path })));
  const answers = await Promise.all(questions.map(({ url }) => askPatiently(url)));
  return questions.flatMap(({ name, path }, index) => (answers[index]?.status === 200 ? [] : [`${name} ${path}`]));
}
