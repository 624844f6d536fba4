import { setTimeout as sleep } from 'node:timers/promises';
import { send } from '@punctual/e2e';
import type { AnswerFigures } from './book.ts';

/**
 * In which the API promises to answer (ms), and a grace that its clients are given: they run on the machine that it runs on,
 * and what is measured is theirs as well. What needs the grace is counted.
 */
export const ANSWER_LIMIT_MS = 5_000;
const ANSWER_GRACE_MS = 1_000;
/**
 * Between two tries of one request (ms), twice as long each time: thousands that wait for an api to come back must not
 * keep the machine from starting it.
 */
const REPEAT_PAUSE_MS = 250;
const REPEAT_PAUSE_MAX_MS = 4_000;
/** One request is repeated for so long (ms): longer than any fault lasts. */
const REPEAT_LIMIT_MS = 300_000;
/** Of each kind of offence, those that are told. */
const TOLD_MAX = 20;

/** A definite answer. `isRepeated`: an earlier try got none, and may have taken effect. */
export interface Answered<Body> {
  status: number;
  body: Body;
  at: number;
  isRepeated: boolean;
}

/** Sends requests to the api processes in turn, and repeats each until it has an answer that means something. */
export class Asker {
  readonly figures: AnswerFigures = {
    requests: 0,
    refused: 0,
    unanswered: 0,
    beyondLimit: 0,
    slowestMs: 0,
    slow: [],
    wrong: [],
  };
  readonly #urls: readonly string[];
  readonly #allowsNoAnswers: boolean;
  #next = 0;
  #isOver = false;

  constructor(urls: readonly string[], allowsNoAnswers = false) {
    this.#urls = urls;
    this.#allowsNoAnswers = allowsNoAnswers;
  }

  /** From now on nothing is repeated any more. */
  giveUp(): void {
    this.#isOver = true;
  }

  /**
   * Undefined when there was no answer until the limit, or the end. `expected`: statuses that mean something. `key`: names a
   * change that must not be made again by a repeat.
   */
  async ask<Body>(
    method: string,
    path: string,
    expected: readonly number[],
    body?: unknown,
    key?: string,
  ): Promise<Answered<Body> | undefined> {
    const deadline = Date.now() + REPEAT_LIMIT_MS;
    let pauseMs = REPEAT_PAUSE_MS;
    for (let isRepeated = false; !this.#isOver && Date.now() < deadline; ) {
      const answer = await this.#askOnce<Body>(method, path, body, key);
      const isUnderWay = (answer?.body as { code?: string } | undefined)?.code === 'idempotency_in_progress';
      if (answer !== undefined && expected.includes(answer.status) && !isUnderWay) return { ...answer, isRepeated };
      if (answer !== undefined && answer.status !== 503 && !isUnderWay) {
        this.#tell(this.figures.wrong, `${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
        return undefined;
      }
      // Refused with 503 after a time-out, a statement may have taken effect all the same.
      isRepeated = true;
      await sleep(pauseMs);
      pauseMs = Math.min(2 * pauseMs, REPEAT_PAUSE_MAX_MS);
    }
    return undefined;
  }

  async #askOnce<Body>(method: string, path: string, body: unknown, key: string | undefined) {
    this.#next = (this.#next + 1) % this.#urls.length;
    const beganAt = performance.now();
    this.figures.requests += 1;
    let isAnswered = false;
    try {
      const headers: Record<string, string> = key === undefined ? {} : { 'idempotency-key': key };
      const { status, body: answer } = await send<Body>(`${this.#urls[this.#next]}${path}`, method, body, headers);
      isAnswered = true;
      if (status === 503) this.figures.refused += 1;
      return { status, body: answer, at: Date.now() };
    } catch {
      this.figures.unanswered += 1;
      return undefined;
    } finally {
      const ms = performance.now() - beganAt;
      this.figures.slowestMs = Math.max(this.figures.slowestMs, Math.round(ms));
      const isJudged = isAnswered || !this.#allowsNoAnswers;
      if (isJudged && ms > ANSWER_LIMIT_MS) this.figures.beyondLimit += 1;
      if (isJudged && ms > ANSWER_LIMIT_MS + ANSWER_GRACE_MS) {
        this.#tell(this.figures.slow, `${method} ${path} took ${Math.round(ms)} ms`);
      }
    }
  }

  #tell(list: string[], line: string): void {
    if (list.length < TOLD_MAX) list.push(line.slice(0, 300));
  }
}
