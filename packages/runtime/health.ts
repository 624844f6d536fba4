/** What one check found. `down` makes the whole service down, `degraded` only lessens it. */
export interface CheckResult {
  status: 'ok' | 'degraded' | 'down';
  /** One plain sentence when it is not ok. */
  detail?: string;
  [figure: string]: unknown;
}

export interface HealthReport {
  status: 'ok' | 'degraded' | 'down';
  version: string;
  uptimeSeconds: number;
  checks: Record<string, CheckResult>;
}

/** How long one check may take before it counts as down (ms). */
const CHECK_TIMEOUT_MS = 2_000;
/** How long the results of the checks are good, from their beginning (ms): less than any probe's interval. */
const CHECK_TTL_MS = 250;

/**
 * The three questions of a service's health. `live` asks whether this process' own loops make progress, never
 * whether others are up: a restart would not mend them. `ready` asks whether it can serve now. `report` tells all.
 */
export class Health {
  readonly #version: string;
  readonly #startedAt = performance.now();
  readonly #checks = new Map<string, { run: () => Promise<CheckResult>; isRequired: boolean }>();
  readonly #loops: { name: string; readonly isStuck: boolean }[] = [];
  #checked: Promise<[string, CheckResult][]> | undefined;
  #checkedAt = 0;
  #isStarted = false;
  #isDraining = false;

  constructor(version: string) {
    this.#version = version;
  }

  /** A check that the report shows. Required ones decide on readiness too; others only degrade the report. */
  addCheck(name: string, isRequired: boolean, run: () => Promise<CheckResult>): void {
    this.#checks.set(name, { run, isRequired });
  }

  /** A loop whose progress liveness depends on. */
  addLoop(loop: { name: string; readonly isStuck: boolean }): void {
    this.#loops.push(loop);
  }

  markStarted(): void {
    this.#isStarted = true;
  }

  /** From now on not ready: the load balancer takes this process out before it closes. */
  markDraining(): void {
    this.#isDraining = true;
  }

  live(): { isLive: boolean; stuck: string[] } {
    const stuck = this.#loops.filter((loop) => loop.isStuck).map((loop) => loop.name);
    return { isLive: stuck.length === 0, stuck };
  }

  async ready(): Promise<{ isReady: boolean; report: HealthReport }> {
    const report = await this.report();
    return { isReady: this.#isStarted && !this.#isDraining && report.status !== 'down', report };
  }

  async report(): Promise<HealthReport> {
    const results = await this.#check();
    const statuses = results.map(([, result]) => result.status);
    const stuck = this.live().stuck;
    const checks: Record<string, CheckResult> = Object.fromEntries(results);
    if (stuck.length > 0)
      checks.loops = { status: 'down', detail: `These loops make no progress: ${stuck.join(', ')}.` };
    const isDown = stuck.length > 0 || statuses.includes('down');
    return {
      status: isDown ? 'down' : statuses.includes('degraded') ? 'degraded' : 'ok',
      version: this.#version,
      uptimeSeconds: Math.floor((performance.now() - this.#startedAt) / 1000),
      checks,
    };
  }

  // Whoever asks while the checks run, or right afterwards, gets the same results: anybody may ask, and each asks Postgres.
  #check(): Promise<[string, CheckResult][]> {
    if (this.#checked === undefined || performance.now() - this.#checkedAt > CHECK_TTL_MS) {
      this.#checkedAt = performance.now();
      this.#checked = Promise.all(
        Array.from(this.#checks, async ([name, { run, isRequired }]): Promise<[string, CheckResult]> => {
          const result = await runCheck(run);
          if (result.status === 'down' && !isRequired) result.status = 'degraded';
          return [name, result];
        }),
      );
    }
    return this.#checked;
  }
}

async function runCheck(run: () => Promise<CheckResult>): Promise<CheckResult> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<CheckResult>((resolve) => {
    timer = setTimeout(
      () => resolve({ status: 'down', detail: `It did not answer within ${CHECK_TIMEOUT_MS} ms.` }),
      CHECK_TIMEOUT_MS,
    );
  });
  try {
    return await Promise.race([run(), late]);
  } catch (error) {
    return { status: 'down', detail: error instanceof Error ? error.message : String(error) };
  } finally {
    clearTimeout(timer);
  }
}
