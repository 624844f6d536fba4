import { OUTPUTS_PER_RUN_MAX } from '@punctual/domain';
import { readOutput } from '../task-output.ts';
import type { AnswerHead } from './answer-parser.ts';
import type { Connection, ConnectionPool, ConnectionUser } from './connection-pool.ts';
import type { Exchange, HttpRequest } from './http-connection.ts';
import {
  type AttemptOutcome,
  type Contact,
  classifyStatus,
  describeNetworkError,
  describeStatus,
  isOwnFault,
} from './http-outcome.ts';
import { RESPONSE_BODY_BYTES_MAX, readResponseText } from './response-text.ts';
import { readRetryAfterMs } from './retry-after.ts';

/**
 * The longest body that is read to its end so that the connection can be used again (bytes). A longer one costs more to
 * read than a new connection does to open, and what is beyond RESPONSE_BODY_BYTES_MAX is thrown away.
 */
export const RESPONSE_DRAINED_BYTES_MAX = 65_536;
/**
 * Answers that may come before the answer, 103 and its like. Each costs more to read than it does to send, so without a
 * limit an endpoint could keep a worker busy for as long as its time-out.
 */
const EARLY_ANSWERS_MAX = 16;
/**
 * The shortest time-out that tells something of an endpoint when it passes without an answer (ms). A timer may ask for
 * less than a connection across the world takes, and that must not make its endpoint look dead.
 */
export const TELLING_TIMEOUT_MS = 1_000;
/**
 * How often one attempt asks whether it may still be sent. More than once only where the answers take longer than they are
 * good for; then the database has too much to do, and it is better to come back later.
 */
export const SEND_QUESTIONS_MAX = 3;

/**
 * The longest answer that is kept as a task's output (bytes). All outputs of a run together may not be larger.
 */
export const OUTPUT_BYTES_MAX = OUTPUTS_PER_RUN_MAX;
/**
 * The most that is read of one answer, all of it, and of one that is kept as an output (bytes). What is neither head nor body, such
 * as the extensions of chunks, has no limit of its own. Far above what head and body may have, in chunks of almost any size.
 */
export const ANSWER_BYTES_MAX = 524_288;
const OUTPUT_ANSWER_BYTES_MAX = 4 * OUTPUT_BYTES_MAX;

export interface AttemptResult {
  outcome: AttemptOutcome;
  /** What it tells of the endpoint. */
  contact: Contact;
  /** Status of the answer, when its headers arrived. */
  httpStatus: number | undefined;
  /** One plain line, at most ERROR_LENGTH_MAX characters; undefined for a success. */
  error: string | undefined;
  /** How long the endpoint asks to wait before a retry (ms); only with the outcome `retryable`. */
  retryAfterMs: number | undefined;
  /** The first RESPONSE_BODY_BYTES_MAX bytes of the body, as text that Postgres stores; undefined for an empty one. */
  responseBody: string | undefined;
  /** The whole answer, when it was asked for, it was a success and it was JSON: as JSON text. */
  output: string | undefined;
  /** From the call of `perform` to its result (ms, whole). */
  durationMs: number;
  /** When the request was handed to a connection (ms since 1970); undefined when it never was. */
  sentAt: number | undefined;
}

/**
 * The result of an attempt that was not sent, for no reason of the endpoint's. `void`: it must not be sent any more.
 * `held`: a gate holds it back.
 * `noRoom`: it got no connection of those that the origin may have. `ownFault`: something of ours failed, which `error` tells.
 */
export interface UnsentAttempt extends Omit<AttemptResult, 'outcome' | 'contact'> {
  outcome: 'unsent';
  contact: 'unknown';
  cause: 'void' | 'held' | 'noRoom' | 'ownFault';
}

/** Whether and until when a request may be sent, and how to go on from there. */
export interface SendingRight {
  /** Asked at the very moment of the write: whether no gate holds it back. */
  mayBegin: () => boolean;
  /** By `performance.now()`. */
  goodUntil: number;
  /** Asks whether it may still be sent, and until when; undefined: no more. A rejection is a fault of ours. */
  ask: () => Promise<number | undefined>;
}

/** Thrown just before the request is written: the connection stays open and unused. */
class MayNotBeSentError extends Error {}
const RIGHT_LAPSED = new MayNotBeSentError('The request may not be sent without asking again.');
const HELD_BACK = new MayNotBeSentError('The request is held back by a gate.');

/**
 * One request and its answer. It settles exactly once, by the last byte of the answer, an error, the deadline or
 * `abort`, whichever is first, and ignores all that comes later. Its connection goes back to the pool only after a
 * complete answer; else it is closed, so neither a late answer nor a request still to be sent outlives the attempt.
 */
export class HttpAttempt implements ConnectionUser, Exchange {
  readonly #pool: ConnectionPool;
  readonly #origin: string;
  readonly #request: HttpRequest;
  readonly #timeoutMs: number;
  readonly #right: SendingRight;
  readonly #onSettled: (result: AttemptResult | UnsentAttempt) => void;
  /** How much of the answer is kept, and how much is read before the rest is given up. */
  readonly #keptMax: number;
  readonly #readMax: number;
  readonly answerBytesMax: number;
  readonly #deadline: NodeJS.Timeout;
  readonly #startedAt = performance.now();
  #isSettled = false;
  #connection: Connection | undefined;
  #goodUntil: number;
  #questions = 0;
  #isAsking = false;
  #sentAt: number | undefined;
  #status: number | undefined;
  #retryAfter: string | undefined;
  /** Its first `#keptBytes` bytes. */
  #kept: Buffer | undefined;
  #keptBytes = 0;
  #readBytes = 0;
  #announcedBytes = 0;
  #earlyAnswers = 0;

  constructor(
    pool: ConnectionPool,
    origin: string,
    request: HttpRequest,
    timeoutMs: number,
    keepsOutput: boolean,
    right: SendingRight,
    onSettled: (result: AttemptResult | UnsentAttempt) => void,
  ) {
    this.#pool = pool;
    this.#origin = origin;
    this.#request = request;
    this.#timeoutMs = timeoutMs;
    this.#right = right;
    this.#goodUntil = right.goodUntil;
    this.#onSettled = onSettled;
    this.#keptMax = keepsOutput ? OUTPUT_BYTES_MAX : RESPONSE_BODY_BYTES_MAX;
    this.answerBytesMax = keepsOutput ? OUTPUT_ANSWER_BYTES_MAX : ANSWER_BYTES_MAX;
    this.#readMax = keepsOutput ? OUTPUT_BYTES_MAX : RESPONSE_DRAINED_BYTES_MAX;
    // Timers of equal length share one list in Node: this and its clearing cost 0.3 µs of about 30.
    this.#deadline = setTimeout(onDeadline, timeoutMs, this);
  }

  start(): void {
    if (!this.#pool.acquire(this.#origin, this)) {
      this.#settleUnsent('noRoom', 'Too many requests are waiting for a connection to this host.');
    }
  }

  /** Ends the attempt as if the connection had failed. */
  abort(): void {
    this.#fail('retryable', 'The worker stopped before the answer was complete.', 'unknown');
  }

  expire(): void {
    if (this.#isAsking) {
      this.#settleUnsent('ownFault', 'There was no answer in time to whether the attempt may still be sent.');
      return;
    }
    if (this.#connection === undefined) {
      this.#settleUnsent('noRoom', 'None of the connections to this host was free in time.');
      return;
    }
    const phase =
      this.#status !== undefined
        ? 'The answer was not complete'
        : this.#sentAt !== undefined
          ? 'There was no answer'
          : 'There was no connection';
    const contact = this.#timeoutMs < TELLING_TIMEOUT_MS ? 'unknown' : 'unanswered';
    this.#fail('timedOut', `${phase} within ${this.#timeoutMs} ms.`, contact);
  }

  onConnection(connection: Connection): void {
    this.#connection = connection;
    // failpoint: worker.sending
    connection.http.send(this.#request, this);
    // failpoint: worker.sent
  }

  onFlood(): void {
    if (this.#isSettled) return;
    if (this.#status !== undefined) this.#settleByAnswer(false);
    else this.#fail('retryable', 'The answer is too large.', 'answered');
  }

  // The last call before the first byte: finding the host, connecting and waiting for a connection are over.
  onSending(): void {
    if (!this.#right.mayBegin()) throw HELD_BACK;
    if (performance.now() > this.#goodUntil) throw RIGHT_LAPSED;
    this.#sentAt = Date.now();
  }

  onHead({ status, contentLength, retryAfter }: AnswerHead): void {
    if (this.#isSettled) return;
    if (status < 200) {
      this.#earlyAnswers += 1;
      if (this.#earlyAnswers > EARLY_ANSWERS_MAX) {
        this.#fail('retryable', 'The endpoint announced its answer too often.', 'answered');
      }
      return;
    }
    // failpoint: worker.answered
    this.#status = status;
    this.#retryAfter = retryAfter;
    this.#announcedBytes = contentLength ?? 0;
  }

  onBody(chunk: Buffer): void {
    if (this.#isSettled) return;
    this.#readBytes += chunk.length;
    if (this.#keptBytes < this.#keptMax) {
      this.#keep(chunk.subarray(0, this.#keptMax - this.#keptBytes));
    }
    const bytesToCome = Math.max(this.#readBytes, this.#announcedBytes);
    if (bytesToCome > this.#readMax && this.#keptBytes >= RESPONSE_BODY_BYTES_MAX) {
      // The status decides; the rest of the body would change nothing.
      this.#settleByAnswer(false);
    }
  }

  // What it is given is good during the call only.
  #keep(bytes: Buffer): void {
    const needed = this.#keptBytes + bytes.length;
    if (this.#kept === undefined) {
      this.#kept = Buffer.from(bytes);
    } else {
      if (this.#kept.length < needed) {
        const larger = Buffer.allocUnsafe(Math.min(this.#keptMax, 2 * needed));
        this.#kept.copy(larger, 0, 0, this.#keptBytes);
        this.#kept = larger;
      }
      bytes.copy(this.#kept, this.#keptBytes);
    }
    this.#keptBytes = needed;
  }

  onEnd(): void {
    if (!this.#isSettled) this.#settleByAnswer(true);
  }

  onError(error: Error): void {
    if (this.#isSettled) return;
    if (error === HELD_BACK) {
      this.#settleUnsent('held', HELD_BACK.message);
      return;
    }
    if (error === RIGHT_LAPSED) {
      void this.#askAgain();
      return;
    }
    const described = describeNetworkError(error);
    if (this.#sentAt === undefined && isOwnFault(error)) {
      // The connection was never made.
      this.#settleUnsent('ownFault', described.error, false);
      return;
    }
    this.#fail(described.outcome, described.error, described.contact);
  }

  // Its connection stays its own meanwhile. Only the deadline ends the wait for an answer.
  async #askAgain(): Promise<void> {
    if (this.#questions === SEND_QUESTIONS_MAX) {
      this.#settleUnsent('ownFault', 'It took too long to ask whether the attempt may still be sent.');
      return;
    }
    this.#questions += 1;
    this.#isAsking = true;
    let goodUntil: number | undefined;
    try {
      goodUntil = await this.#right.ask();
    } catch (error) {
      this.#settleUnsent('ownFault', `It could not be asked whether the attempt may still be sent: ${error}`);
      return;
    } finally {
      this.#isAsking = false;
    }
    if (goodUntil === undefined) {
      this.#settleUnsent('void', 'The attempt may not be sent any more.');
    } else if (!this.#isSettled) {
      this.#goodUntil = goodUntil;
      this.#connection?.http.send(this.#request, this);
    }
  }

  #settleUnsent(cause: UnsentAttempt['cause'], error: string, isConnected = true): void {
    if (this.#isSettled) return;
    this.#end(isConnected);
    this.#onSettled({
      outcome: 'unsent',
      cause,
      contact: 'unknown',
      httpStatus: undefined,
      error,
      retryAfterMs: undefined,
      responseBody: undefined,
      output: undefined,
      durationMs: Math.round(performance.now() - this.#startedAt),
      sentAt: undefined,
    });
  }

  #settleByAnswer(isComplete: boolean): void {
    const status = this.#status ?? 0;
    const outcome = classifyStatus(status);
    if (outcome === 'succeeded' && this.#keptMax === OUTPUT_BYTES_MAX && !(isComplete && this.#isWhole)) {
      const error = `The answer is larger than ${OUTPUT_BYTES_MAX} bytes, which is the most that is kept as an output.`;
      this.#settle('permanent', error, 'answered', isComplete);
      return;
    }
    this.#settle(outcome, outcome === 'succeeded' ? undefined : describeStatus(status), 'answered', isComplete);
  }

  #fail(outcome: AttemptOutcome, error: string, contact: Contact): void {
    // Headers that came are an answer, whatever became of the rest.
    if (!this.#isSettled) this.#settle(outcome, error, this.#status === undefined ? contact : 'answered', false);
  }

  #settle(outcome: AttemptOutcome, error: string | undefined, contact: Contact, isReusable: boolean): void {
    this.#end(isReusable);
    this.#onSettled({
      outcome,
      contact,
      httpStatus: this.#status,
      error,
      retryAfterMs:
        outcome === 'retryable' && this.#status !== undefined
          ? readRetryAfterMs(this.#retryAfter, Date.now())
          : undefined,
      responseBody: this.#readBody(),
      output: outcome === 'succeeded' ? this.#readOutput() : undefined,
      durationMs: Math.round(performance.now() - this.#startedAt),
      sentAt: this.#sentAt,
    });
  }

  #end(isReusable: boolean): void {
    this.#isSettled = true;
    clearTimeout(this.#deadline);
    if (this.#connection === undefined) this.#pool.withdraw(this.#origin, this);
    else if (isReusable) this.#pool.release(this.#connection);
    else this.#pool.discard(this.#connection);
  }

  #readBody(): string | undefined {
    if (this.#kept === undefined) return undefined;
    const bytes = this.#kept.subarray(0, this.#keptBytes);
    if (bytes.length <= RESPONSE_BODY_BYTES_MAX) return readResponseText(bytes, this.#readBytes > this.#keptBytes);
    return readResponseText(bytes.subarray(0, RESPONSE_BODY_BYTES_MAX), true);
  }

  get #isWhole(): boolean {
    return this.#readBytes === this.#keptBytes;
  }

  #readOutput(): string | undefined {
    if (this.#keptMax !== OUTPUT_BYTES_MAX) return undefined;
    return readOutput(this.#kept?.toString('utf8', 0, this.#keptBytes) ?? '');
  }
}

function onDeadline(attempt: HttpAttempt): void {
  attempt.expire();
}
