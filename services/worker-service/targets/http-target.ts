import { type ActionMethod, type EgressPolicy, TIMEOUT_MS_MAX, TIMEOUT_MS_MIN, type UrlCheck } from '@punctual/domain';
import { createGuardedConnector } from '../egress/guarded-connector.ts';
import { createHostResolver, type ResolveHost } from '../egress/host-resolver.ts';
import { ConnectionPool } from './connection-pool.ts';
import { type AttemptResult, HttpAttempt, type SendingRight, type UnsentAttempt } from './http-attempt.ts';
import { RequestError } from './http-connection.ts';
import { formatRequestHeaders, SigningSecretError } from './request-headers.ts';

/**
 * URLs whose check is remembered. Many timers call few URLs, and a lookup here takes a tenth of the 1.4–3.5 µs that
 * parsing and checking take.
 */
const CHECKED_URLS_MAX = 1_024;

export interface AttemptRequest {
  url: string;
  method: ActionMethod;
  /** The customer's own, as validated by `validateActionHeaders`. */
  headers?: Readonly<Record<string, string>> | undefined;
  /** Serialised already; sent with `content-type: application/json` unless the customer set another. */
  body?: string | Buffer | undefined;
  /** For everything from the DNS lookup to the last byte of the answer (ms, TIMEOUT_MS_MIN to TIMEOUT_MS_MAX). */
  timeoutMs: number;
  timerId: string;
  /** From 1. */
  attempt: number;
  /** Milliseconds since 1970. */
  dueAt: number;
  /** Whether the whole answer is wanted as the output of a task; false when absent. */
  keepsOutput?: boolean;
  /** `whsec_` and base64 each; the request is not signed when empty. */
  signingSecrets: readonly string[];
  /** Of the span of the attempt; sent unless the customer set a `traceparent`. Absent: not traced. */
  traceparent?: string | undefined;
  /** Judged when a connection is there and the request is about to be written. */
  right: SendingRight;
}

export interface HttpTargetOptions {
  egressPolicy: EgressPolicy;
  /** `punctual/<version>`. */
  userAgent: string;
  /** Attempts to one origin that may be under way at the same time; more of them wait, within their own deadlines. */
  maxConnectionsPerOrigin: number;
  /** Idle connections kept over all origins; IDLE_CONNECTIONS_MAX when absent. */
  maxIdleConnections?: number;
  /** How host names are resolved; DNS, then the operating system, when absent. */
  resolveHost?: ResolveHost;
  /** Certificates of authorities to trust in place of the usual ones, PEM. */
  ca?: string | readonly string[];
}

export interface HttpTarget {
  /**
   * Performs one attempt. Whatever the endpoint does is a result; `unsent` is one that must not count. It rejects with
   * TargetClosedError after `close` or `destroy`, when nothing was sent.
   */
  perform(request: AttemptRequest): Promise<AttemptResult | UnsentAttempt>;
  /**
   * Scheme, host and port under which `perform` knows the endpoint of this URL, in the one spelling that all of its
   * spellings share; empty for a URL that it would refuse. It is remembered as long as the URL is.
   */
  readOrigin(url: string): string;
  /** Takes no more attempts, waits for those under way, then closes every connection. Safe to call twice. */
  close(): Promise<void>;
  /** Ends the attempts under way as `retryable`, although the endpoint may have acted on them, and closes everything. */
  destroy(): Promise<void>;
  /** Attempts under way, open idle connections and origins that have a connection. */
  readonly stats: { inFlight: number; idleConnections: number; origins: number };
}

/** An attempt was asked for after the target had been closed: a mistake in the order of stopping. */
export class TargetClosedError extends Error {
  readonly code = 'PUNCTUAL_TARGET_CLOSED';
  readonly isRetryable = true;

  constructor() {
    super('The HTTP target is closed.');
    this.name = 'TargetClosedError';
  }
}

/**
 * Calls customers' endpoints. Guarantees: no byte goes to an address that the policy denies, redirects are not
 * followed, an attempt ends within its deadline and reads a bounded part of the answer, which is never decompressed.
 *
 * A connection that the server closes while the request is on its way looks the same as one that broke after the
 * request was acted upon. Such an attempt is `retryable` and not repeated in here: each repeat is an attempt that is
 * recorded.
 */
export function createHttpTarget(options: HttpTargetOptions): HttpTarget {
  const { egressPolicy, userAgent } = options;
  const pool = new ConnectionPool({
    connect: createGuardedConnector({
      policy: egressPolicy,
      resolveHost: options.resolveHost ?? createHostResolver(),
      ...(options.ca === undefined ? {} : { ca: options.ca }),
    }),
    maxConnectionsPerOrigin: options.maxConnectionsPerOrigin,
    ...(options.maxIdleConnections === undefined ? {} : { maxIdleConnections: options.maxIdleConnections }),
  });
  const checkUrl = rememberChecks(egressPolicy);
  let inFlight = 0;
  let isClosed = false;
  const onLastSettled: (() => void)[] = [];

  const perform = (request: AttemptRequest): Promise<AttemptResult | UnsentAttempt> => {
    if (isClosed) return Promise.reject(new TargetClosedError());
    const url = checkUrl(request.url);
    if (!url.ok) return Promise.resolve(refuse(url.kind === 'blocked' ? 'blocked' : 'permanent', url.reason));
    let headers: string;
    try {
      headers = formatRequestHeaders(request, userAgent, Date.now());
    } catch (error) {
      if (error instanceof SigningSecretError || error instanceof RequestError) {
        return Promise.resolve(refuse('permanent', error.message));
      }
      throw error;
    }
    const dispatched = { path: url.path, method: request.method, headers, body: request.body ?? null };
    const timeoutMs = Math.min(Math.max(request.timeoutMs, TIMEOUT_MS_MIN), TIMEOUT_MS_MAX);
    inFlight += 1;
    return new Promise((resolve) => {
      const keepsOutput = request.keepsOutput ?? false;
      const attempt = new HttpAttempt(pool, url.origin, dispatched, timeoutMs, keepsOutput, request.right, (result) => {
        inFlight -= 1;
        resolve(result);
        if (inFlight === 0) for (const onSettled of onLastSettled.splice(0)) onSettled();
      });
      attempt.start();
    });
  };

  const close = async (): Promise<void> => {
    isClosed = true;
    if (inFlight > 0) await new Promise<void>((resolve) => onLastSettled.push(resolve));
    await pool.close();
  };
  const destroy = (): Promise<void> => {
    isClosed = true;
    for (const user of pool.listUsers()) user.abort();
    return close();
  };
  const readOrigin = (text: string): string => {
    const url = checkUrl(text);
    return url.ok ? url.origin : '';
  };
  return {
    perform,
    readOrigin,
    close,
    destroy,
    get stats() {
      return { inFlight, idleConnections: pool.idleCount, origins: pool.originCount };
    },
  };
}

function rememberChecks(policy: EgressPolicy): (url: string) => UrlCheck {
  const checks = new Map<string, UrlCheck>();
  return (url) => {
    const known = checks.get(url);
    if (known !== undefined) return known;
    const check = policy.checkUrl(url);
    if (checks.size >= CHECKED_URLS_MAX) {
      const [eldest] = checks.keys();
      checks.delete(eldest ?? '');
    }
    checks.set(url, check);
    return check;
  };
}

/** The result of an attempt that ends before anything is sent. */
function refuse(outcome: 'blocked' | 'permanent', error: string): AttemptResult {
  return {
    outcome,
    contact: 'unknown',
    httpStatus: undefined,
    error,
    retryAfterMs: undefined,
    responseBody: undefined,
    output: undefined,
    durationMs: 0,
    sentAt: undefined,
  };
}
