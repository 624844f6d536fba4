import { fork } from 'node:child_process';
import { once } from 'node:events';
import { constants, setPriority } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { HostileEndpoint, HostileStats } from './hostile-endpoints.ts';

/** Hostile endpoints in a process of their own. */
export interface HostileProcess {
  endpoints: readonly HostileEndpoint[];
  dnsServer: string;
  readStats(): Promise<{ stats: Record<string, HostileStats>; canaryConnections: number }>;
  stop(): Promise<void>;
}

const PROGRAM = fileURLToPath(new URL('./run-hostile-endpoints.ts', import.meta.url));

/**
 * Starts what `startHostileEndpoints` does where it can not slow down whoever measures: some of them send as fast as they
 * can. They end with this process.
 */
export async function startHostileProcess(): Promise<HostileProcess> {
  const child = fork(PROGRAM, { execArgv: [], stdio: 'inherit' });
  // Whoever attacks has processors of their own.
  if (child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_LOW);
  const exited = once(child, 'exit');
  const [{ endpoints, dnsServer }] = (await once(child, 'message')) as [
    Pick<HostileProcess, 'endpoints' | 'dnsServer'>,
  ];
  return {
    endpoints,
    dnsServer,
    // Whoever asks while another waits gets the other's answer, which is as new.
    async readStats() {
      child.send({});
      const [answer] = await once(child, 'message');
      return answer;
    },
    async stop() {
      child.disconnect();
      await exited;
    },
  };
}
