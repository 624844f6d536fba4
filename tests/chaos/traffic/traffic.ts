import { setTimeout as sleep } from 'node:timers/promises';
import type { Receivers, Timer } from '@punctual/e2e';
import { Asker } from './asker.ts';
import type { Book, BookedTimer, Deed } from './book.ts';

export interface TrafficOptions {
  apiUrls: readonly string[];
  /** Where timers are delivered. */
  targets: Receivers['urls'];
  /** Whether a request may get no answer for longer than the api may take. */
  allowsNoAnswers: boolean;
  /** Distinguishes this traffic's timers from all others: a label. */
  label: string;
  /** New timers a second. */
  rate: number;
  /** From creation to due (ms). */
  delayMs: { min: number; max: number };
  /** How near to the due time races are (ms). */
  raceMs: number;
  /** Of all timers, from 0 to 1. */
  shares: Partial<Record<Exclude<Deed, 'nothing'>, number>>;
  /** Of an attempt (ms). */
  timeoutMs: number;
  random: () => number;
}

/** New timers are begun once in this time (ms). */
const TICK_MS = 50;
/** One run for so many timers. */
const TIMERS_PER_RUN = 40;
/** A run is sent its signal within this time (ms): before the task begins to wait, or after. */
const SIGNAL_AFTER_MS_MAX = 3_000;
/** Shorter than some faults last: then the time-out may come first. */
const SIGNAL_TIMEOUT_SECONDS = 10;
const HOUR_MS = 3_600_000;
/** Schedules that occur each second. */
const SCHEDULES = 8;
/** More requests at once say nothing new (they wait for each other), and would keep memory. */
const UNDER_WAY_MAX = 2_000;
/** An edit moves the due time by this much (ms). */
const EDIT_MOVES_MS = 1_500;
/** Timers in a request that stores a herd, and such requests at once. */
const HERD_BATCH = 1_000;
const HERD_BATCHES_AT_ONCE = 2;
/** A request may have 8 MB. */
const HERD_BATCH_BYTES_MAX = 6_000_000;
/** Of the timers so many have a concurrency key, one of so many, with places enough that hardly any has to wait for long. */
const KEYED_ONE_IN = 10;
const KEYS = 50;
const KEY_LIMIT = 4;
/** One of so many timers has a priority, of 1 to PRIORITY_MAX. */
const RAISED_ONE_IN = 7;
const PRIORITY_MAX = 9;
/** The first retry (ms); each next one waits twice as long. */
const BACKOFF_MS = 300;

/**
 * A steady load of creates, edits, cancels and fires, with runs of three tasks and schedules among them. It begins what is planned when
 * it is planned, however slow the answers are.
 */
export class Traffic {
  readonly asker: Asker;
  readonly book: Book;
  readonly #options: TrafficOptions;
  readonly #underWay = new Set<Promise<void>>();
  #workflowId = '';
  #scheduleIds: string[] = [];
  #ticking: Promise<void> | undefined;
  #isStopping = false;
  /** Timers that were not begun because too many requests were under way. */
  skipped = 0;

  constructor(options: TrafficOptions) {
    this.#options = options;
    this.asker = new Asker(options.apiUrls, options.allowsNoAnswers);
    this.book = { timers: [], runs: [], answers: this.asker.figures };
  }

  async start(): Promise<void> {
    const action = { type: 'http', url: this.#options.targets.good };
    const timeout = { type: 'duration', value: SIGNAL_TIMEOUT_SECONDS, unit: 'seconds' };
    const answer = await this.asker.ask<{ id: string }>('POST', '/v1/workflows', [201], {
      name: this.#options.label,
      tasks: [
        { key: 'first', delay: { type: 'duration', value: 1, unit: 'seconds' }, action },
        { key: 'second', after: ['first'], delay: { type: 'signal', name: 'go', timeout, onTimeout: 'run' }, action },
        { key: 'third', after: ['second'], action },
      ],
    });
    if (answer === undefined) throw new Error(`no workflow could be made: ${this.asker.figures.wrong.join('; ')}`);
    this.#workflowId = answer.body.id;
    for (let count = 0; count < SCHEDULES; count += 1) {
      const schedule = await this.asker.ask<{ id: string }>('POST', '/v1/schedules', [201], {
        rule: { type: 'cron', expression: '* * * * * *' },
        // However long a fault lasts, every second has its timer.
        missedRuns: { policy: 'all', windowMs: HOUR_MS },
        timer: { action: { type: 'noop' } },
      });
      if (schedule !== undefined) this.#scheduleIds.push(schedule.body.id);
    }
    this.#ticking = this.#tick();
  }

  /**
   * Stores `count` timers, as fast as it goes, due evenly within `spreadMs` from `dueAt` (epoch ms), with payloads of
   * about `payloadBytes`. For good receivers, and nothing is done to them.
   */
  async putHerd(count: number, dueAt: number, spreadMs: number, payloadBytes = 0): Promise<void> {
    const { targets, timeoutMs } = this.#options;
    const first = this.book.timers.length;
    const herd = Array.from({ length: count }, (_, index): BookedTimer => {
      const at = Math.round(dueAt + (index / count) * spreadMs);
      return {
        n: first + index,
        target: 'good',
        deed: 'nothing',
        dueAt: at,
        edited: 'no',
        editedDueAt: at,
        cancelled: 'no',
      };
    });
    // Not as arguments of one call: a herd may be a million.
    for (const timer of herd) this.book.timers.push(timer);
    const padding = payloadBytes > 0 ? { padding: 'x'.repeat(payloadBytes) } : {};
    const batch = Math.min(HERD_BATCH, Math.floor(HERD_BATCH_BYTES_MAX / (payloadBytes + 1)));
    let next = 0;
    const putSome = async () => {
      while (next < count) {
        const part = herd.slice(next, next + batch);
        next += part.length;
        const answer = await this.asker.ask<{ results: { status: number; timer?: Timer }[] }>(
          'POST',
          '/v1/timers/batch',
          [207],
          {
            timers: part.map((timer) => ({
              dueAt: new Date(timer.dueAt).toISOString(),
              action: { type: 'http', url: targets.good },
              payload: { n: timer.n, revision: 1, ...padding },
              timeoutMs,
              externalId: this.#nameTimer(timer.n),
            })),
          },
        );
        for (const [index, result] of (answer?.body.results ?? []).entries())
          if (result.timer) part[index]!.id = result.timer.id;
      }
    };
    await Promise.all(Array.from({ length: HERD_BATCHES_AT_ONCE }, putSome));
  }

  /**
   * For a case that has moved in time what is stored (ms). `dueAts`: when what had not ended was due before (epoch ms), by
   * external id. What is still to be stored keeps its time, and so does an edit that is still to be made.
   */
  shiftDueTimes(ms: number, dueAts: ReadonlyMap<string, number>): void {
    for (const timer of this.book.timers) {
      const dueAt = dueAts.get(this.#nameTimer(timer.n));
      if (dueAt === undefined) continue;
      if (timer.edited === 'yes' || dueAt === timer.editedDueAt) timer.editedDueAt += ms;
      timer.dueAt += ms;
    }
  }

  #nameTimer(n: number): string {
    return `${this.#options.label}-${n}`;
  }

  /** Begins no more, and resolves when every request begun has its answer. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#ticking;
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
    for (const id of this.#scheduleIds.splice(0)) await this.asker.ask('POST', `/v1/schedules/${id}/pause`, [200]);
  }

  async #tick(): Promise<void> {
    const { rate } = this.#options;
    const beganAt = performance.now();
    let begun = 0;
    while (!this.#isStopping) {
      const wanted = Math.floor(((performance.now() - beganAt) / 1_000) * rate);
      for (; begun < wanted; begun += 1) {
        if (this.#underWay.size >= UNDER_WAY_MAX) this.skipped += 1;
        else this.#begin();
      }
      await sleep(TICK_MS);
    }
  }

  #begin(): void {
    const { book } = this;
    const n = book.timers.length;
    this.#track(this.#live(this.#plan(n)));
    if (n % TIMERS_PER_RUN === 0) this.#track(this.#beginRun(book.runs.length));
  }

  #track(work: Promise<void>): void {
    const tracked: Promise<void> = work.finally(() => this.#underWay.delete(tracked));
    this.#underWay.add(tracked);
  }

  #plan(n: number): BookedTimer {
    const { random, delayMs } = this.#options;
    const deed = this.#chooseDeed();
    const sleepMs = delayMs.min + random() * (delayMs.max - delayMs.min);
    const dueAt = Math.round(Date.now() + (deed === 'fire' ? HOUR_MS : sleepMs));
    const timer: BookedTimer = {
      n,
      target: n % 20 === 7 ? 'failing' : n % 20 === 3 ? 'flaky' : 'good',
      deed,
      dueAt,
      edited: 'no',
      editedDueAt: dueAt + EDIT_MOVES_MS,
      cancelled: 'no',
    };
    this.book.timers.push(timer);
    return timer;
  }

  #chooseDeed(): Deed {
    let left = this.#options.random();
    for (const [deed, share] of Object.entries(this.#options.shares)) {
      left -= share;
      if (left < 0) return deed as Deed;
    }
    return 'nothing';
  }

  async #live(timer: BookedTimer): Promise<void> {
    const { label, targets, timeoutMs } = this.#options;
    const created = await this.asker.ask<Timer>('POST', '/v1/timers', [200, 201], {
      dueAt: new Date(timer.dueAt).toISOString(),
      action: { type: 'http', url: targets[timer.target] },
      payload: { n: timer.n, revision: 1 },
      retry: { backoff: { initialMs: BACKOFF_MS, factor: 2, jitter: 0 } },
      timeoutMs,
      externalId: this.#nameTimer(timer.n),
      labels: { chaos: label },
      ...(timer.n % RAISED_ONE_IN === 3 && { priority: 1 + (timer.n % PRIORITY_MAX) }),
      ...(timer.n % KEYED_ONE_IN === 5 && { concurrency: { key: `${label}-${timer.n % KEYS}`, limit: KEY_LIMIT } }),
    });
    if (created === undefined) return;
    timer.id = created.body.id;
    if (timer.deed === 'nothing') return;
    await sleep(Math.max(0, this.#chooseMoment(timer) - Date.now()));
    if (timer.deed === 'fire') await this.#fire(timer);
    else if (timer.deed.startsWith('edit')) await this.#edit(timer);
    else await this.#cancel(timer);
  }

  #chooseMoment({ deed, dueAt }: BookedTimer): number {
    const { random, raceMs } = this.#options;
    if (deed === 'editRace' || deed === 'cancelRace') return dueAt + (2 * random() - 1) * raceMs;
    if (deed === 'fire') return Date.now() + random() * this.#options.delayMs.max;
    return Date.now() + random() * (dueAt - Date.now());
  }

  async #edit(timer: BookedTimer): Promise<void> {
    timer.edited = 'unknown';
    timer.editAskedAt = Date.now();
    const answer = await this.asker.ask<Timer>('PATCH', `/v1/timers/${timer.id}`, [200, 409], {
      dueAt: new Date(timer.editedDueAt).toISOString(),
      payload: { n: timer.n, revision: 2 },
    });
    if (answer?.status === 200) {
      timer.edited = 'yes';
      timer.editedAfter = answer.body.attempt;
      timer.editedAckAt = answer.at;
    } else if (answer !== undefined && !answer.isRepeated) {
      timer.edited = 'no';
    }
  }

  async #cancel(timer: BookedTimer): Promise<void> {
    timer.cancelled = 'unknown';
    timer.cancelAskedAt = Date.now();
    const answer = await this.asker.ask<Timer>('POST', `/v1/timers/${timer.id}/cancel`, [200, 409]);
    if (answer?.status === 200) {
      timer.cancelled = 'yes';
      timer.cancelledAfter = answer.body.attempt;
      timer.cancelledAckAt = answer.at;
    } else if (answer !== undefined) {
      // A repeat of a cancel that took effect is answered 200.
      timer.cancelled = 'no';
    }
  }

  async #fire(timer: BookedTimer): Promise<void> {
    // Repeated, it finds the timer started or ended by the first.
    const askedAt = Date.now();
    const answer = await this.asker.ask<Timer>('POST', `/v1/timers/${timer.id}/fire`, [200, 409]);
    if (answer === undefined) return;
    timer.firedAt = askedAt;
    timer.isFireRepeated = answer.isRepeated;
  }

  async #beginRun(n: number): Promise<void> {
    const run: Book['runs'][number] = { n };
    this.book.runs.push(run);
    const answer = await this.asker.ask<{ id: string }>('POST', '/v1/runs', [200, 201], {
      workflowId: this.#workflowId,
      externalId: `${this.#options.label}-run-${n}`,
      input: {},
    });
    if (answer === undefined) return;
    run.id = answer.body.id;
    await sleep(this.#options.random() * SIGNAL_AFTER_MS_MAX);
    const key = `${this.#options.label}-signal-${n}`;
    const path = `/v1/runs/${run.id}/signals/go`;
    const signalled = await this.asker.ask('POST', path, [200, 409], { payload: { n } }, key);
    if (signalled !== undefined) run.signal = signalled.status === 200 ? 'taken' : 'refused';
  }
}
