import { setTimeout as sleep } from 'node:timers/promises';
import type { CaseContext, ChaosCase } from '../chaos-case.ts';
import { ROLES, type Role } from '../system/managed-service.ts';

const KILLS = 50;
const KILLS_SHORT = 3;
/** After a process is ready again, it lives up to so long (ms): long enough to have work in hand. */
const LIFE_MAX_MS = 600;
/** The same where several roles die beside each other, and something of them is to get done meanwhile. */
const SHARED_LIFE_MAX_MS = 2_500;

/** Kills the processes of a role, one after the other, each again when it is back. */
async function killInTurn({ system, random, choose, log }: CaseContext, role: Role): Promise<void> {
  const services = system.listServices(role);
  const kills = choose(KILLS, KILLS_SHORT);
  for (let done = 0; done < kills; done += 1) {
    const service = services[done % services.length]!;
    await service.waitUntilReady();
    await sleep(random() * LIFE_MAX_MS);
    service.kill('SIGKILL');
    if (done % 10 === 9) log(`  ${done + 1} of ${kills} kills`);
  }
  await Promise.all(services.map((service) => service.waitUntilReady()));
}

/** Kills processes of these roles, by chance, each when it is back, until the work is done. */
export async function killDuring(
  { system, random }: CaseContext,
  roles: readonly Role[],
  work: Promise<unknown>,
): Promise<void> {
  let isOver = false;
  const ending = work.finally(() => {
    isOver = true;
  });
  const services = roles.flatMap((role) => system.listServices(role));
  const killAll = async () => {
    while (!isOver) {
      const service = services[Math.floor(random() * services.length)]!;
      await service.waitUntilReady();
      await sleep(random() * SHARED_LIFE_MAX_MS);
      if (!isOver) service.kill('SIGKILL');
    }
  };
  await Promise.all([ending, killAll()]);
  await Promise.all(services.map((service) => service.waitUntilReady()));
}

/** SIGKILL of each role in a loop, and of everything at once. */
export const kills: readonly ChaosCase[] = [
  ...ROLES.map(
    (role): ChaosCase => ({
      name: `kill:${role}`,
      summary: `SIGKILL of every ${role} in turn, ${KILLS} times`,
      isInTests: role === 'worker',
      system: { api: 2 },
      allowsRepeats: role === 'worker',
      fault: (context) => killInTurn(context, role),
    }),
  ),
  {
    name: 'kill:all',
    summary: 'SIGKILL of all services, of Postgres and of Redis at the same moment, 3 times',
    allowsRepeats: true,
    async fault({ system, choose, last }) {
      for (let done = 0; done < choose(3, 1); done += 1) {
        for (const service of system.services) service.kill('SIGKILL');
        await Promise.all([system.postgres.stop('kill'), system.redis.stop('kill')]);
        await Promise.all([system.postgres.start(), system.redis.start()]);
        await Promise.all(system.services.map((service) => service.waitUntilReady()));
        await last(2_000);
      }
    },
  },
];
