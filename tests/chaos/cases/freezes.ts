import type { CaseContext, ChaosCase } from '../chaos-case.ts';

/** Of a partition, in the scheduler (ms). */
const PARTITION_LEASE_MS = 3_000;
/** Here an attempt's lease is its time-out and this margin (ms). */
const TIMEOUT_MS = 3_000;
const MARGIN_MS = 2_000;
const ATTEMPT_LEASE_MS = TIMEOUT_MS + MARGIN_MS;

interface Freezable {
  freeze(): void;
  thaw(): void;
}

async function freezeFor({ last, choose }: CaseContext, target: Freezable, leaseMs: number): Promise<void> {
  for (let done = 0; done < choose(3, 1); done += 1) {
    target.freeze();
    await last(3 * leaseMs);
    target.thaw();
    await last(2_000);
  }
}

/** SIGSTOP for three times the lease, then SIGCONT, three times: whoever was frozen acts on what is long past. */
export const freezes: readonly ChaosCase[] = [
  {
    name: 'freeze:scheduler',
    summary: 'one of two schedulers stands still for 3 leases of a partition',
    allowsRepeats: false,
    fault: (context) => freezeFor(context, context.system.listServices('scheduler')[0]!, PARTITION_LEASE_MS),
  },
  {
    name: 'freeze:worker',
    summary: 'one of two workers stands still for 3 leases of an attempt',
    system: { env: { WORKER_LEASE_MARGIN_MS: String(MARGIN_MS) } },
    traffic: { timeoutMs: TIMEOUT_MS },
    allowsRepeats: true,
    fault: (context) => freezeFor(context, context.system.listServices('worker')[0]!, ATTEMPT_LEASE_MS),
  },
  {
    name: 'freeze:postgres',
    summary: 'Postgres stands still for 3 leases of a partition',
    allowsRepeats: true,
    fault: (context) => freezeFor(context, context.system.postgres, PARTITION_LEASE_MS),
  },
  {
    name: 'freeze:redis',
    summary: 'Redis stands still for 3 leases of a partition',
    allowsRepeats: false,
    fault: (context) => freezeFor(context, context.system.redis, PARTITION_LEASE_MS),
  },
];
