// The second script: holds what the receiver got against what the api promised to the first one, timer by timer, and
// asks the api for its ledger. It counts what broke a guarantee, and each count must be 0.
import { sleep } from 'k6';
import http from 'k6/http';
import { Counter, Gauge, Trend } from 'k6/metrics';
import type { Options } from 'k6/options';
import { AUTHORIZATION, plan, SUMMARY_TREND_STATS, writeSummary } from './load.ts';
import {
  computeDrift,
  computeImbalance,
  type LedgerAnswer,
  type Proof,
  type Receipt,
  readJournal,
  readReceipts,
  reconcile,
} from './reconcile.ts';

/** Once all timers are due: how long to go on waiting while nothing arrives. What has not come by then is missing. */
const STALL_LIMIT_MS = 30_000;
/** After the last receipt, for those that should not come: repeats, and timers that were cancelled. */
const SETTLE_SECONDS = 2;
const POLL_SECONDS = 0.5;
/** More than any run takes from its last create to its last receipt: a queue of a million, drained at 1,000 a second. */
const DURATION_MAX = '20m';
/** Of each kind of fault, so many ids are printed. */
const SAMPLES_MAX = 10;

const journalText = open(plan.journal);

const counters = {
  created: new Counter('timers_created'),
  changed: new Counter('timers_changed'),
  cancelled: new Counter('timers_cancelled'),
  delivered: new Counter('timers_delivered'),
  missing: new Counter('timers_missing'),
  early: new Counter('timers_early'),
  repeated: new Counter('timers_repeated'),
  afterCancel: new Counter('timers_delivered_after_cancel'),
  unknown: new Counter('timers_never_acknowledged'),
};
const lateness = new Trend('timer_lateness_ms', true);
const drift = new Gauge('timer_lateness_drift_ms');
const imbalance = new Gauge('ledger_imbalance');
const differences = new Counter('ledger_differences');
const overdue = new Gauge('ledger_overdue');
const isWhole = new Counter('proofs_completed');

export const options: Options = {
  scenarios: { verify: { executor: 'shared-iterations', vus: 1, iterations: 1, maxDuration: DURATION_MAX } },
  thresholds: {
    timers_delivered: ['count>0'],
    timers_missing: ['count==0'],
    timers_early: ['count==0'],
    timers_repeated: ['count==0'],
    timers_delivered_after_cancel: ['count==0'],
    timers_never_acknowledged: ['count==0'],
    timer_lateness_ms: [`p(95)<${plan.limits.latenessP95Ms}`],
    ...(plan.limits.driftMs === undefined ? {} : { timer_lateness_drift_ms: [`value<${plan.limits.driftMs}`] }),
    ledger_imbalance: ['value==0'],
    ledger_differences: ['count==0'],
    ledger_overdue: ['value==0'],
    // A script that stops half-way has counted no faults, either.
    proofs_completed: ['count==1'],
    http_req_failed: ['rate==0'],
  },
  summaryTrendStats: SUMMARY_TREND_STATS,
};

export const handleSummary = writeSummary;

export default function verify(): void {
  const journal = readJournal(journalText);
  const receipts = readUntilSettled(journal.lastDueAt, journal.created - journal.cancelled);
  const proof = reconcile(journal, receipts);
  counters.created.add(journal.created);
  counters.changed.add(journal.changed);
  counters.cancelled.add(journal.cancelled);
  counters.delivered.add(proof.delivered);
  for (const kind of ['missing', 'early', 'repeated', 'afterCancel', 'unknown'] as const) {
    counters[kind].add(proof[kind].length);
    report(kind, proof);
  }
  for (const ms of proof.latenessMs) lateness.add(ms);
  drift.add(computeDrift(proof.latenessMs));

  const ledger = getJson<LedgerAnswer>('/v1/ledger');
  imbalance.add(computeImbalance(ledger));
  differences.add(ledger.isBalanced ? 0 : 1);
  overdue.add(ledger.overdueCount);
  isWhole.add(1);
}

function readUntilSettled(lastDueAt: number, expected: number): Receipt[] {
  const receipts: Receipt[] = [];
  const ids = new Set<string>();
  let changedAt = Date.now();
  const readMore = () => {
    for (;;) {
      const text = http.get(`${plan.receiptsUrl}?from=${receipts.length}`).body as string;
      if (text === '') return;
      for (const receipt of readReceipts(text)) {
        receipts.push(receipt);
        ids.add(receipt.id);
      }
      changedAt = Date.now();
    }
  };
  for (;;) {
    readMore();
    const now = Date.now();
    const isStalled = now - Math.max(changedAt, lastDueAt) > STALL_LIMIT_MS;
    if (now > lastDueAt && (ids.size >= expected || isStalled)) break;
    sleep(POLL_SECONDS);
  }
  sleep(SETTLE_SECONDS);
  readMore();
  return receipts;
}

/** Says which timers broke a guarantee, and what the api has to say about them. */
function report(kind: 'missing' | 'early' | 'repeated' | 'afterCancel' | 'unknown', proof: Proof): void {
  for (const id of proof[kind].slice(0, SAMPLES_MAX)) {
    const { status, dueAt, attempt } = getJson<Record<string, unknown>>(`/v1/timers/${id}`);
    console.error(`${kind}: timer ${id}, which is ${status} now, due at ${dueAt}, attempt ${attempt}`);
  }
}

function getJson<Answer>(path: string): Answer {
  return http
    .get(`${plan.apiUrl}${path}`, { headers: AUTHORIZATION, tags: { name: path.split('/')[2]! } })
    .json() as unknown as Answer;
}
