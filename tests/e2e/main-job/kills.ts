import type { RunningStack } from '@punctual/local-servers';
import { waitUntil } from '@punctual/testkit';
import pg from 'pg';
import { send } from '../api-client.ts';

/** One process that got SIGKILL, and the attempts that it may have had in its hands. */
export interface Kill {
  name: string;
  /** `timer id / attempt` of every attempt that was under way, in any worker, just after the kill. */
  underWay: Set<string>;
  /** Requests received until then. */
  deliveries: number;
}

/** A worker is killed while it has at least so many attempts under way. */
const ATTEMPTS_MIN = 5;
const KILL_LIMIT_MS = 60_000;

export function nameAttempt(timerId: string, attempt: number): string {
  return `${timerId}/${attempt}`;
}

/** Kills a service and reads what was under way. A worker is killed in the midst of attempts. */
export async function killService(stack: RunningStack, name: string, deliveries: { length: number }): Promise<Kill> {
  const service = stack.processes.find((candidate) => candidate.name === name);
  if (!service) throw new Error(`there is no ${name}`);
  const client = new pg.Client({ connectionString: stack.databaseUrl });
  await client.connect();
  try {
    if (name.startsWith('worker')) {
      const isBusy = async () => (await readAttemptsInFlight(service.url)) >= ATTEMPTS_MIN;
      await waitUntil(`${name} has ${ATTEMPTS_MIN} attempts under way`, isBusy, KILL_LIMIT_MS);
    }
    service.kill('SIGKILL');
    await service.exited;
    // From its end on nothing more is started by it, and what it had started stays so until the leases end.
    const { rows } = await client.query<{ id: string; attempt: number }>(
      "SELECT id, attempt FROM timers WHERE state = 'running'",
    );
    return {
      name,
      underWay: new Set(rows.map(({ id, attempt }) => nameAttempt(id, attempt))),
      deliveries: deliveries.length,
    };
  } finally {
    await client.end();
  }
}

async function readAttemptsInFlight(workerUrl: string): Promise<number> {
  const { body } = await send<string>(`${workerUrl}/metrics`);
  return Number(/^worker_attempts_in_flight(?:\{[^}]*\})? (\d+)$/m.exec(body)?.[1]);
}
