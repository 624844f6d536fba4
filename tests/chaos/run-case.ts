import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApiClient, forEachConcurrently, type Receivers, startReceivers, TARGETS } from '@punctual/e2e';
import { createRandom, waitUntil } from '@punctual/testkit';
import type { CaseContext, ChaosCase, LinkName, OuterLink } from './chaos-case.ts';
import type { EndedRun, EndedTimer, LedgerSample, Offence } from './judge/evidence.ts';
import { judge, type Verdict } from './judge/judge.ts';
import { ChaosSystem } from './system/chaos-system.ts';
import { type Link, openLink } from './system/link.ts';
import { Traffic } from './traffic/traffic.ts';

export interface RunOptions {
  seed: number;
  isShort: boolean;
  /** New timers a second, where the case does not say. */
  rate: number;
  log: (line: string) => void;
}

export interface CaseResult extends Omit<Verdict, 'recoveryMs'> {
  name: string;
  seed: number;
  /** Both undefined where there was no fault. */
  faultMs: number | undefined;
  recoveryMs: number | undefined;
  seconds: number;
  /** Ends of processes, and those that the case did not ask for; starts that failed. */
  processEnds: number;
  unaskedEnds: number;
  failedStarts: number;
  requests: number;
  refused: number;
  unanswered: number;
  answersBeyondLimit: number;
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
/** Between two readings of the ledger, and at least so many times what the last one took: it counts every live timer. */
const LEDGER_INTERVAL_MS = 1_000;
const LEDGER_REST_FACTOR = 10;
/** Everything must be over so long after the traffic (ms), and the time the case has to recover: three retries, and a lost attempt's lease. */
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
  await using started = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), 'punctual-chaos-'));
  started.defer(() => rmSync(folder, { recursive: true, force: true }));
  const surroundings = await chaosCase.surroundings?.(folder);
  if (surroundings) started.defer(() => surroundings.stop());
  const receivers = await startReceivers();
  started.defer(() => receivers.stop());
  const tweaks = chaosCase.tweaks?.(choose, random);
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
  });
  started.defer(() => system.stop());
  const { links, apiUrls, targets } = await openOuterLink(chaosCase.outerLink, system, receivers, random);
  started.defer(() => closeOuterLink(chaosCase.outerLink, links));
  const traffic = new Traffic({
    apiUrls,
    targets,
    allowsNoAnswers: chaosCase.allowsNoAnswers ?? false,
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
  started.defer(async () => {
    isOver = true;
    traffic.asker.giveUp();
    await traffic.stop();
    await watching;
  });
  await traffic.start();
  await sleep(choose(WARM_MS, WARM_SHORT_MS));
  const faultAt = Date.now();
  const judges: Parameters<CaseContext['judgeAtEnd']>[0][] = [];
  await chaosCase.fault({
    system,
    links,
    surroundings,
    traffic,
    apiUrls,
    receivers: { urls: targets, deliveries: receivers.deliveries },
    judgeAtEnd: (judgeOwn) => judges.push(judgeOwn),
    closeAfterwards: (close) => started.defer(async () => void (await close())),
    random,
    choose,
    last: (ms) => sleep(ms),
    log,
  });
  const healedAt = Date.now();
  await sleep(choose(AFTER_MS, AFTER_SHORT_MS));
  await traffic.stop();
  const { isCalm = false, recoveryLimitMs = RECOVERY_LIMIT_MS } = chaosCase;
  const offences = await waitForEnd(system, ledgers, END_LIMIT_MS + recoveryLimitMs);
  offences.push(...(await checkQuiet(system)));
  isOver = true;
  await watching;
  const { timers, runs, ledger } = await readAll(system.apiUrls, traffic);
  ledgers.push(ledger);
  await receivers.readAll();
  const { deliveries } = receivers;
  for (const judgeOwn of judges) offences.push(...(await judgeOwn({ deliveries, api: new ApiClient(system.apiUrls) })));
  const verdict = judge(
    {
      book: traffic.book,
      deliveries,
      timers,
      runs,
      ledgers,
      processFaults: system.services.flatMap(({ faults }) => faults),
      faultAt: isCalm ? undefined : faultAt,
      healedAt: isCalm ? undefined : healedAt,
    },
    {
      recoveryLimitMs,
      allowsRepeats: chaosCase.allowsRepeats,
      allowsFailedAttempts: chaosCase.allowsFailedAttempts ?? false,
    },
  );
  return {
    name: chaosCase.name,
    seed,
    ...verdict,
    offences: [...verdict.offences, ...offences],
    faultMs: isCalm ? undefined : healedAt - faultAt,
    recoveryMs: isCalm ? undefined : verdict.recoveryMs,
    seconds: Math.round((Date.now() - beganAt) / 1_000),
    ...countEvents(system, traffic),
    ledgersRead: ledgers.length,
  };
}

function countEvents({ services, loggedBytes }: ChaosSystem, { book }: Traffic) {
  const { requests, refused, unanswered, beyondLimit, slowestMs } = book.answers;
  return {
    processEnds: services.reduce((sum, { ends }) => sum + ends, 0),
    unaskedEnds: services.flatMap(({ faults }) => faults).filter(({ kind }) => kind === 'end').length,
    failedStarts: services.reduce((sum, service) => sum + service.failedStarts, 0),
    requests,
    refused,
    unanswered,
    answersBeyondLimit: beyondLimit,
    slowestAnswerMs: slowestMs,
    loggedKilobytes: Math.round(loggedBytes / 1_024),
  };
}

/** All links by name, and where clients and workers turn to: past the outer link when there is one. */
async function openOuterLink(
  name: OuterLink | undefined,
  { links: toServers, apiUrls }: ChaosSystem,
  { urls: targets }: Receivers,
  random: () => number,
): Promise<{ links: ReadonlyMap<LinkName, Link>; apiUrls: readonly string[]; targets: Receivers['urls'] }> {
  const links = new Map<LinkName, Link>(toServers);
  if (name === undefined) return { links, apiUrls, targets };
  const link = await openLink(name === 'client-api' ? apiUrls : TARGETS.map((target) => targets[target]), random);
  links.set(name, link);
  // Paths are put behind them.
  if (name === 'client-api') return { links, apiUrls: link.urls.map((url) => new URL(url).origin), targets };
  const ways = TARGETS.map((target, index) => [target, link.urls[index]!] as const);
  return { links, apiUrls, targets: Object.fromEntries(ways) as Receivers['urls'] };
}

async function closeOuterLink(name: OuterLink | undefined, links: ReadonlyMap<LinkName, Link>): Promise<void> {
  if (name !== undefined) await links.get(name)!.close();
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
    const beganAt = performance.now();
    const sample = await readLedger(apiUrl).catch(() => undefined);
    if (sample !== undefined) ledgers.push(sample);
    await sleep(Math.max(LEDGER_INTERVAL_MS, LEDGER_REST_FACTOR * (performance.now() - beganAt)));
  }
}

async function waitForEnd(system: ChaosSystem, ledgers: readonly LedgerSample[], limitMs: number): Promise<Offence[]> {
  const from = Date.now();
  const isDone = () => ledgers.some(({ at, live }) => at > from && live === 0);
  try {
    await waitUntil('every timer has ended', isDone, limitMs);
    return [];
  } catch {
    const last = ledgers.at(-1);
    const text = `after ${limitMs / 1_000} s ${last?.live ?? '?'} timers are still live`;
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
