import type { ChaosCase } from '../chaos-case.ts';

const MILLION = 1_000_000;
const MILLION_SHORT = 10_000;
/** Before a herd is due, there is time to store it at this rate (timers a second). */
const STORED_PER_SECOND = 8_000;
const OUTAGE_HOURS = 2;
const OUTAGE_MS = OUTAGE_HOURS * 3_600_000;
/**
 * Of each four requests the receiver holds one for 300 ms, so an attempt lasts 100 ms, and two workers with their 256 slots
 * for one origin (WORKER_ATTEMPTS_PER_ORIGIN) deliver 5,000 a second at most: so many as fit well into the minute.
 */
const OUTAGE_TIMERS = 200_000;
const OUTAGE_TIMERS_SHORT = 5_000;
/** A million in the minute that other cases have would be 16,700 a second: more than one origin takes here, and two cores deliver. */
const MILLION_RECOVERY_MS = 240_000;

/** What a small container would give a worker, and nearly the largest payload. */
const HEAP_MEGABYTES = 160;
const LARGE_BYTES = 60_000;

/** Much at once. */
export const crowds: readonly ChaosCase[] = [
  {
    name: 'crowd:second',
    summary: `a million timers are due within one second; as one origin takes 5,000 a second at most, they have ${MILLION_RECOVERY_MS / 60_000} minutes`,
    allowsRepeats: false,
    recoveryLimitMs: MILLION_RECOVERY_MS,
    async fault({ traffic, choose, last, log }) {
      const count = choose(MILLION, MILLION_SHORT);
      const dueAt = Date.now() + 2_000 + (count / STORED_PER_SECOND) * 1_000;
      await traffic.putHerd(count, dueAt, 1_000);
      log(
        `  ${count.toLocaleString('en')} timers are stored, ${Math.round(dueAt - Date.now())} ms before they are due`,
      );
      await last(Math.max(0, dueAt + 1_000 - Date.now()));
    },
  },
  {
    name: 'crowd:outage',
    summary: `as if every service had been away for ${OUTAGE_HOURS} hours, in which ${OUTAGE_TIMERS.toLocaleString('en')} timers came due: all that is stored is made so much older`,
    allowsRepeats: true,
    async fault({ system, traffic, choose, log }) {
      const count = choose(OUTAGE_TIMERS, OUTAGE_TIMERS_SHORT);
      const storedMs = (count / STORED_PER_SECOND) * 1_000;
      await traffic.putHerd(count, Date.now() + storedMs + 60_000, OUTAGE_MS);
      log(`  ${count.toLocaleString('en')} timers sleep; every service is killed`);
      for (const service of system.services) {
        service.hold();
        service.kill('SIGKILL');
      }
      // Whatever had no answer when its api was killed may be stored or not, and so may an edit of it.
      const stored = await system.queryPostgres(
        "SELECT external_id, due_at FROM timers WHERE state IN ('scheduled', 'running') AND external_id IS NOT NULL",
      );
      // Two hours pass at once: everything that tells a time in the database is two hours older.
      const wait = `interval '${OUTAGE_HOURS} hours'`;
      await system.queryPostgres(
        `UPDATE timers SET due_at = due_at - ${wait}, created_at = created_at - ${wait}, lease_ends_at = lease_ends_at - ${wait},
           wake_at = wake_at - ${wait}`,
      );
      await system.queryPostgres(`UPDATE partition_leases SET expires_at = expires_at - ${wait}`);
      const dueAts = stored.map((row) => [String(row.external_id), Number(row.due_at)] as const);
      traffic.shiftDueTimes(-OUTAGE_MS, new Map(dueAts));
      for (const service of system.services) service.release();
      await Promise.all(system.services.map((service) => service.waitUntilReady()));
    },
  },
  {
    name: 'crowd:memory',
    summary: `workers with ${HEAP_MEGABYTES} MB of memory meet thousands of timers with 60 KB each, all due at once`,
    allowsRepeats: true,
    // Longer than it takes to store them, while the workers stand still with requests on their way.
    traffic: { timeoutMs: 60_000 },
    tweaks: () => ({ worker: { heapMegabytes: HEAP_MEGABYTES } }),
    async fault({ system, traffic, choose, log }) {
      const workers = system.listServices('worker');
      for (const worker of workers) worker.freeze();
      const count = choose(5_000, 1_000);
      await traffic.putHerd(count, Date.now(), 1, LARGE_BYTES);
      log(`  ${count} timers of ${LARGE_BYTES} bytes are due`);
      for (const worker of workers) worker.thaw();
    },
  },
];
