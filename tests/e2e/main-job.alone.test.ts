import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as runChecks from './main-job/check-runs.ts';
import * as timerChecks from './main-job/check-timers.ts';
import { type JobOptions, type JobRecord, listSickServices, runJob, startJobStack } from './main-job/job.ts';

const LARGE: JobOptions = {
  processes: { api: 2, scheduler: 3, worker: 6 },
  queue: 'redis',
  timers: 10_000,
  roles: {
    far: 600,
    fire: 50,
    skip: 20,
    cancel: 550,
    cancelRace: 250,
    change: 550,
    changeRace: 250,
    cancelBetween: 50,
    changeBetween: 50,
  },
  runs: { whole: 440, broken: 60 },
  runsCancelled: 40,
  times: { leadMs: 6_000, spreadMs: 28_000 },
  faults: [
    { afterDeliveries: 3_000, kill: 'worker-1' },
    { afterDeliveries: 6_000, kill: 'scheduler-1' },
    { afterDeliveries: 8_000, flushRedis: true },
    { afterDeliveries: 10_000, kill: 'worker-2' },
  ],
};

const SMALL: JobOptions = {
  processes: { api: 1, scheduler: 1, worker: 2 },
  queue: 'postgres',
  timers: 800,
  roles: {
    far: 33,
    fire: 5,
    skip: 2,
    cancel: 40,
    cancelRace: 80,
    change: 40,
    changeRace: 80,
    cancelBetween: 10,
    changeBetween: 10,
  },
  runs: { whole: 40, broken: 10 },
  runsCancelled: 8,
  times: { leadMs: 5_000, spreadMs: 8_000 },
  faults: [
    { afterDeliveries: 450, kill: 'worker-1' },
    { afterDeliveries: 700, kill: 'scheduler-1', thenAdd: 'scheduler' },
  ],
};

/** The most that the job may take on a machine that does much else meanwhile (ms). */
const JOB_LIMIT_MS = 240_000;

/** Says what the run was like, for people. */
function report(record: JobRecord): void {
  const { repeats, bound } = timerChecks.findRepeats(record);
  const line = {
    seconds: record.took,
    requests: record.receivers.deliveries.length,
    repeats,
    bound,
    underWayAtKills: Object.fromEntries(record.kills.map(({ name, underWay }) => [name, underWay.size])),
    latenessMs: { p50: timerChecks.readLatenessMs(record, 0.5), p95: timerChecks.readLatenessMs(record, 0.95) },
  };
  console.log(JSON.stringify(line));
}

/** One in so many cancels and changes must come before its timer starts, however slow the machine. */
const IN_TIME_SHARE = 4;

describe.each([
  { name: '2 apis, 3 schedulers, 6 workers on Redis', options: LARGE },
  { name: '1 api, 1 scheduler, 2 workers with the queue in Postgres', options: SMALL },
])('$name, some of them killed', ({ options }) => {
  let record: JobRecord;
  let servers: Awaited<ReturnType<typeof startJobStack>>;

  beforeAll(async () => {
    servers = await startJobStack(options);
    record = await runJob(options, servers.stack, servers.receivers);
  }, JOB_LIMIT_MS);
  afterAll(async () => {
    if (record) report(record);
    await servers?.stop();
  }, JOB_LIMIT_MS);

  it('the job was what it should be: processes died in the midst of it, and races had both outcomes', async () => {
    const { kills, timers, runs, receivers, ledgers } = record;
    for (const { name, underWay, deliveries } of kills) {
      expect(deliveries, name).toBeLessThan(receivers.deliveries.length);
      if (name.startsWith('worker')) expect(underWay.size, name).toBeGreaterThan(0);
    }
    const having = (role: string) => timers.filter((timer) => timer.role === role);
    const cancelled = timers.filter(({ cancelledAfter }) => cancelledAfter !== undefined);
    // How many come in time is the machine's doing; that enough of them do is what makes the other checks mean anything.
    expect(cancelled.length).toBeGreaterThanOrEqual(options.roles.far! + options.roles.cancel! / IN_TIME_SHARE);
    expect(timers.filter(({ changes }) => changes.length > 0).length).toBeGreaterThanOrEqual(
      options.roles.change! / IN_TIME_SHARE,
    );
    for (const role of ['cancelRace', 'changeRace']) {
      const refused = having(role).filter(({ refusals }) => refusals.length > 0).length;
      expect(refused, role).toBeGreaterThan(0);
      expect(refused, role).toBeLessThan(having(role).length);
    }
    expect(having('cancelBetween').filter(({ cancelledAfter }) => cancelledAfter === 1).length).toBeGreaterThan(0);
    expect(having('changeBetween').filter(({ changes }) => changes[0]?.attempt === 1).length).toBeGreaterThan(0);
    const cancelledTasks = runs.map(({ cancelled }) => cancelled?.tasks ?? []);
    expect(cancelledTasks.filter((tasks) => tasks.some(({ status }) => status === 'running')).length).toBeGreaterThan(
      0,
    );
    expect(ledgers.length).toBeGreaterThan(3);
  });

  it('a rule is acknowledged with the due time that it means', () => {
    expect(timerChecks.findWrongDueTimes(record)).toEqual([]);
  });

  it('nothing that was acknowledged is lost, and nothing else is there', () => {
    expect(timerChecks.findLost(record)).toEqual([]);
  });

  it('the books balance at every moment, and in the end nothing is live or overdue', () => {
    expect(runChecks.findLedgerFaults(record)).toEqual([]);
  });

  it('nothing is early, neither by its due time nor by its backoff', () => {
    expect(timerChecks.findEarly(record)).toEqual([]);
  });

  it('a cancel or a change that was acknowledged wins, and one that was refused changes nothing', () => {
    expect(timerChecks.findOvertaken(record)).toEqual([]);
    expect(runChecks.findOvertakenRuns(record)).toEqual([]);
  });

  it('only attempts that a killed worker had under way are repeated, under the same id and number', () => {
    const { repeats, bound, offences } = timerChecks.findRepeats(record);
    expect(offences).toEqual([]);
    expect(repeats).toBeLessThanOrEqual(bound);
  });

  it('a timer that always fails gets four attempts and becomes a dead letter', () => {
    expect(timerChecks.findExcessAttempts(record)).toEqual([]);
  });

  it('every attempt is on record, those included that were lost with their worker', async () => {
    expect(await timerChecks.findUnrecordedAttempts(record)).toEqual([]);
  });

  it('runs end as they should, and a task is sent only after all of its parents have succeeded', () => {
    expect(runChecks.findWrongRuns(record)).toEqual([]);
    expect(runChecks.findHastyTasks(record)).toEqual([]);
  });

  it('every service that was not killed is well, and says so', async () => {
    expect(
      await listSickServices(
        servers.stack,
        record.kills.map(({ name }) => name),
      ),
    ).toEqual([]);
  });
});
