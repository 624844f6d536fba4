import type { CaseContext, ChaosCase } from '../chaos-case.ts';
import type { Role } from '../system/managed-service.ts';
import { passBulkPortions } from './bulk-operations.ts';

interface Failpoint {
  name: string;
  role: Role;
  text: string;
  env?: Record<string, string>;
  /** Has the place passed again and again until it is over, where the usual traffic does not pass it. Resolves with its end. */
  pass?: (context: CaseContext, isOver: () => boolean) => Promise<void>;
}

/** What a dead worker had in hand is taken up sooner, so that there is more to crash at. */
const SHORT_LEASES = { WORKER_LEASE_MARGIN_MS: '2000' };

/** Every place at which a process may die, as named by a comment in the code. */
export const FAILPOINTS: readonly Failpoint[] = [
  { name: 'api.storing', role: 'api', text: 'new timers are about to be stored' },
  { name: 'api.stored', role: 'api', text: 'they are committed, and nobody was told' },
  { name: 'scheduler.read', role: 'scheduler', text: 'due timers were read' },
  { name: 'scheduler.dispatching', role: 'scheduler', text: 'they are about to go to the queue' },
  { name: 'scheduler.dispatched', role: 'scheduler', text: 'they are in the queue' },
  { name: 'worker.starting', role: 'worker', text: 'a chunk came, and its timers are about to be started' },
  { name: 'worker.started', role: 'worker', text: 'the start is committed, and nothing was sent' },
  { name: 'worker.sending', role: 'worker', text: 'a request is about to be sent' },
  { name: 'worker.sent', role: 'worker', text: 'a request is on its way' },
  { name: 'worker.answered', role: 'worker', text: 'the answer is here' },
  { name: 'worker.writing', role: 'worker', text: 'outcomes are about to be written' },
  { name: 'worker.written', role: 'worker', text: 'outcomes are committed' },
  { name: 'worker.scheduling', role: 'worker', text: 'a schedule is about to make its turn' },
  { name: 'worker.scheduled', role: 'worker', text: 'the turn of a schedule is committed' },
  {
    name: 'worker.unlocked',
    role: 'worker',
    text: 'outcomes of tasks are committed, and the tasks started that they unlock',
  },
  {
    name: 'worker.bulk-changed',
    role: 'worker',
    text: 'a portion of a bulk operation is changed, and not committed',
    env: SHORT_LEASES,
    pass: passBulkPortions,
  },
  {
    name: 'worker.bulk-portion',
    role: 'worker',
    text: 'a portion of a bulk operation is committed',
    env: SHORT_LEASES,
    pass: passBulkPortions,
  },
];

const CRASHES = 20;
const CRASHES_SHORT = 2;
const CRASH_LIMIT_MS = 240_000;
/** A process passes the place so often before it dies, at most. */
const PASSES_MAX = 30;

/** Death at each step between commit, read, dispatch, start, send, outcome and acknowledgement. */
export const failpoints: readonly ChaosCase[] = FAILPOINTS.map(
  ({ name, role, text, env, pass }): ChaosCase => ({
    name: `crash:${name}`,
    summary: `every ${role} dies when ${text}, again and again, ${CRASHES} times in all`,
    system: { api: 2, ...(env && { env }) },
    allowsRepeats: role === 'worker',
    async fault(context) {
      const { system, random, choose, last } = context;
      const services = system.listServices(role);
      const crashes = choose(CRASHES, CRASHES_SHORT);
      const arm = () => {
        for (const service of services)
          service.tweak({ failpoint: { name, passes: 1 + Math.floor(random() * PASSES_MAX) } });
      };
      arm();
      // Those that run were started without the failpoint.
      for (const service of services) service.kill('SIGKILL');
      const countCrashes = () => services.reduce((sum, { ends }) => sum + ends, 0) - services.length;
      const deadline = Date.now() + CRASH_LIMIT_MS;
      let isOver = false;
      const passing = pass?.(context, () => isOver);
      // Awaited in the end; before that it may fail because the case was given up.
      passing?.catch(() => {});
      while (countCrashes() < crashes) {
        if (Date.now() > deadline) throw new Error(`only ${countCrashes()} of ${crashes} crashes came at ${name}`);
        await last(100);
        arm();
      }
      for (const service of services) {
        service.tweak(undefined);
        service.kill('SIGKILL');
      }
      await last(1_000);
      await Promise.all(services.map((service) => service.waitUntilReady()));
      isOver = true;
      await passing;
    },
  }),
);
