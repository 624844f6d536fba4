import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { type GuardedProcess, startGuardedProcess } from '@punctual/local-servers';
import type { ComposeService } from './compose-file.ts';
import { type Image, mapPath } from './dockerfile.ts';

/** A process that stands for a container. */
export interface Container {
  process: GuardedProcess;
  /** Everything it said. */
  lines: string[];
  /** The exit code of the image's health check. */
  checkHealth(): Promise<number>;
}

/** Longer than any drain. */
const STOP_TIMEOUT_MS = 40_000;

/**
 * Starts what the image's entry makes of the service's command, as the image's user where we may become it, in the
 * image's folder and with the environment of image and service alone. `more` is what stands for the container's own
 * network.
 */
export async function startContainer(
  image: Image,
  service: ComposeService,
  translate: (value: string) => string,
  more: Record<string, string>,
): Promise<Container> {
  const environment = Object.entries(service.environment ?? {}).map(([name, value]) => [name, translate(value)]);
  const env = {
    ...image.environment,
    ...Object.fromEntries(environment),
    // As Docker sets it for a user that the image has no name for.
    HOME: '/',
    ...more,
    PATH: mapPath(image, image.environment.PATH!),
  };
  const become = (command: readonly string[]) => {
    const [uid, gid] = image.user.split(':');
    const [program = '', ...args] = command;
    const own = [join(image.root, 'usr/local/bin', program), ...args];
    return process.geteuid?.() === 0
      ? ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--no-new-privs', ...own]
      : own;
  };
  const cwd = join(image.root, image.workdir);
  const lines: string[] = [];
  const [command = '', ...args] = become([...image.entrypoint, ...(service.command ?? [])]);
  const started = await startGuardedProcess({
    ...{ command, args, env, cwd, stopTimeoutMs: STOP_TIMEOUT_MS, hardSignal: 'SIGKILL' },
    stopSignal: image.stopSignal as NodeJS.Signals,
    output: { onLine: (line) => lines.push(line) },
  });
  return {
    process: started,
    lines,
    checkHealth: () =>
      new Promise((resolve) => {
        const [check = '', ...rest] = become(image.healthcheck);
        execFile(check, rest, { cwd, env: { ...env, PATH: process.env.PATH } }, (error) =>
          resolve(typeof error?.code === 'number' ? error.code : error ? -1 : 0),
        );
      }),
  };
}
