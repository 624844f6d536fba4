import type { Logger } from './logger.ts';

/** How long a drain may take before the process gives up and exits with code 1 (ms). Below Kubernetes' usual grace of 30 s. */
export const DRAIN_TIMEOUT_MS_DEFAULT = 25_000;

/**
 * Runs `stop` once on SIGTERM or SIGINT, then exits: 0 when it resolved, 1 when it failed or took longer than
 * `timeoutMs`. Signals that follow are taken for the same wish. Only a service's `main.ts` calls this.
 */
export function stopOnSignals(options: { logger: Logger; stop: () => Promise<void>; timeoutMs?: number }): void {
  const timeoutMs = options.timeoutMs ?? DRAIN_TIMEOUT_MS_DEFAULT;
  let isStopping = false;
  const handle = (signal: string) => {
    if (isStopping) return;
    isStopping = true;
    options.logger.info(`${signal}: taking no more work and finishing what is in hand`);
    const timer = setTimeout(() => {
      options.logger.error(`not finished after ${timeoutMs} ms; giving up`);
      process.exit(1);
    }, timeoutMs);
    timer.unref();
    options.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        options.logger.error({ err: error }, 'the drain failed');
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', handle);
  process.on('SIGINT', handle);
}
