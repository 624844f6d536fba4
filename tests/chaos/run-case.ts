import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApiClient, forEachConcurrently, startReceivers } from '@punctual/e2e';
import { waitUntil } from '@punctual/testkit';
import type { ChaosCase } from './chaos-case.ts';
import type { EndedRun, EndedTimer, LedgerSample, Offence } from './judge/evidence.ts';
import { judge, type Verdict } from './judge/judge.ts';
import { createRandom } from './random.ts';
import { ChaosSystem } from './system/chaos-system.ts';
import { Traffic } from './traffic/traffic.ts';

export interface RunOptions {
  seed: number;
  isShort: boolean;
  /** New timers a second, where the case does not say. */
  rate: number;
  log: (line: string) => void;
}

export interface CaseResult extends Verdict {
  name: string;
  seed: number;
  faultMs: number;
  seconds: number;
  /** Processes that ended during the fault. */
  processEnds: number;
  requests: number;
  refused: number;
  unanswered: number;
  slowestAnswerMs: number;
  loggedKilobytes: number;
  ledgersRead: number;
}

/** Traffic before the fault, and after the heal; and in the short form (ms). */
const WARM_MS = 3_000;
const WARM_SHORT_MS = 1_500;
const AFTER_MS = 5_000;
const AFTER_SHORT_MS = 1_500;
/** From creation to due, and in the short form (ms). */
const DELAY_MS = { min: 500, max: 6_000 };
const DELAY_SHORT_MS = { min: 300, max: 2_000 };
const LEDGER_INTERVAL_MS = 1_000;
/** Everything must be over so long after the traffic (ms): three retries, and a lost attempt's lease. */
const END_LIMIT_MS = 180_000;
/** What was due by the heal is delivered within it (ms). */
const RECOVERY_LIMIT_MS = 60_000;
/** Without traffic, this long and this much: a service that is well says next to nothing (ms, bytes). */
const QUIET_MS = 3_000;
const QUIET_BYTES_MAX = 4_096;
/** What all services together may log in one case: an outage is told now and then, not with each failure (bytes). */
const LOGGED_BYTES_MAX = 512 * 1_024;
const READY_LIMIT_MS = 60_000;
const READS_AT_ONCE = 8;

/** Runs one case on a system of its own and judges it. */
export async function runCase(chaosCase: ChaosCase, options: RunOptions): Promise<CaseResult> {
  const { seed, isShort, log } = options;
  const beganAt = Date.now();
  const random = createRandom(seed);
  const choose = (full: number, short: number) => (isShort ? short : full);
  const tweaks = chaosCase.tweaks?.(choose, random);
  const folder = mkdtempSync(join(tmpdir(), 'punctual-chaos-'));
  const receivers = await startReceivers();
  const clear = async () => {
    await receivers.stop();
    await surroundings?.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  const surroundings = await chaosCase.surroundings?.(folder);
  const system = await ChaosSystem.start({
    api: 1,
    scheduler: 2,
    worker: 2,
    isRedisPersistent: false,
    ...chaosCase.system,
    env: { LOG_LEVEL: 'warn', ...chaosCase.system?.env },
    ...(tweaks && { tweaks }),
    ...(surroundings && { surroundings }),
    random,
    log,
  }).catch(async (error: unknown) => {
    await clear();
    throw error;
  });
  const traffic = new Traffic({
    apiUrls: system.apiUrls,
    receivers,
    label: `chaos-${seed}`,
    rate: options.rate,
    delayMs: isShort ? DELAY_SHORT_MS : DELAY_MS,
    raceMs: 50,
    shares: { edit: 0.1, editRace: 0.05, cancel: 0.1, cancelRace: 0.05, fire: 0.02 },
    timeoutMs: 5_000,
    ...chaosCase.traffic,
    random,
  });
  const ledgers: LedgerSample[] = [];
  let isOver = false;
  const watching = watchLedger(system.apiUrls[0]!, ledgers, () => isOver);
  try {
    await traffic.start();
    await sleep(choose(WARM_MS, WARM_SHORT_MS));
    const faultAt = Date.now();
    await chaosCase.fault({ system, surroundings, traffic, random, choose, last: (ms) => sleep(ms), log });
    const healedAt = Date.now();
    await sleep(choose(AFTER_MS, AFTER_SHORT_MS));
    await traffic.stop();
    const offences = await waitForEnd(system, ledgers);
    offences.push(...(await checkQuiet(system)));
    isOver = true;
    await watching;
    const { timers, runs, ledger } = await readAll(system.apiUrls, traffic);
    ledgers.push(ledger);
    await receivers.readAll();
    const verdict = judge(
      { book: traffic.book, deliveries: receivers.deliveries, timers, runs, ledgers, faultAt, healedAt },
      { recoveryLimitMs: chaosCase.recoveryLimitMs ?? RECOVERY_LIMIT_MS, allowsRepeats: chaosCase.allowsRepeats },
    );
    const { requests, refused, unanswered, slowestMs } = traffic.book.answers;
    return {
      name: chaosCase.name,
      seed,
      ...verdict,
      offences: [...verdict.offences, ...offences],
      faultMs: healedAt - faultAt,
      seconds: Math.round((Date.now() - beganAt) / 1_000),
      processEnds: system.services.reduce((sum, { ends }) => sum + ends, 0),
      requests,
      refused,
      unanswered,
      slowestAnswerMs: slowestMs,
      loggedKilobytes: Math.round(system.loggedBytes / 1_024),
      ledgersRead: ledgers.length,
    };
  } finally {
    isOver = true;
    traffic.asker.giveUp();
    await traffic.stop();
    await watching;
    await system.stop();
    await clear();
  }
}

interface Ledger {
  isBalanced: boolean;
  total: Record<'scheduled' | 'running' | 'paused', number>;
  overdueCount: number;
  stuckRunCount: number;
  differences: unknown[];
}

async function readLedger(apiUrl: string): Promise<LedgerSample> {
  const ledger = await new ApiClient([apiUrl]).expect<Ledger>([200], 'GET', '/v1/ledger');
  const { isBalanced, total, overdueCount, stuckRunCount, differences } = ledger;
  const live = total.scheduled + total.running + total.paused;
  return { at: Date.now(), isBalanced, live, overdueCount, stuckRunCount, differences };
}

// While the api can not answer there is nothing to write down.
async function watchLedger(apiUrl: string, ledgers: LedgerSample[], isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    const sample = await readLedger(apiUrl).catch(() => undefined);
    if (sample !== undefined) ledgers.push(sample);
    await sleep(LEDGER_INTERVAL_MS);
  }
}

async function waitForEnd(system: ChaosSystem, ledgers: readonly LedgerSample[]): Promise<Offence[]> {
  const from = Date.now();
  const isDone = () => ledgers.some(({ at, live }) => at > from && live === 0);
  try {
    await waitUntil('every timer has ended', isDone, END_LIMIT_MS);
    return [];
  } catch {
    const last = ledgers.at(-1);
    const text = `after ${END_LIMIT_MS / 1_000} s ${last?.live ?? '?'} timers are still live`;
    return [{ check: 'lost', text }, ...listWarnings(system)];
  }
}

/** Whether services are as they were before the fault: each ready, and silent. */
async function checkQuiet(system: ChaosSystem): Promise<Offence[]> {
  const offences: Offence[] = [];
  for (const service of system.services) {
    const isReady = async () => {
      const answer = await fetch(`${service.url}/v1/health`).catch(() => undefined);
      await answer?.body?.cancel();
      return answer?.status === 200;
    };
    try {
      await waitUntil(`${service.name} is well`, isReady, READY_LIMIT_MS);
    } catch {
      offences.push({ check: 'logs', text: `${service.name} does not become well again` });
    }
  }
  const before = system.loggedBytes;
  if (before > LOGGED_BYTES_MAX) offences.push({ check: 'logs', text: `${before} bytes logged in all` });
  await sleep(QUIET_MS);
  const logged = system.loggedBytes - before;
  if (logged > QUIET_BYTES_MAX) {
    offences.push({ check: 'logs', text: `${logged} bytes logged in ${QUIET_MS} ms without traffic` });
  }
  return offences.length > 0 ? [...offences, ...listWarnings(system)] : [];
}

function listWarnings(system: ChaosSystem): Offence[] {
  return system.services.flatMap(({ warnings }) =>
    warnings.slice(-2).map((text) => ({ check: 'logs' as const, text })),
  );
}

async function readAll(
  apiUrls: readonly string[],
  { book }: Traffic,
): Promise<{ timers: EndedTimer[]; runs: EndedRun[]; ledger: LedgerSample }> {
  const api = new ApiClient(apiUrls);
  const timers = await api.list<EndedTimer>('/v1/timers');
  const runs: EndedRun[] = [];
  await forEachConcurrently(book.runs, READS_AT_ONCE, async ({ id }) => {
    if (id !== undefined) runs.push(await api.expect<EndedRun>([200], 'GET', `/v1/runs/${id}`));
  });
  return { timers, runs, ledger: await readLedger(apiUrls[0]!) };
}
