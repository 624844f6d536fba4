import { randomUUID } from 'node:crypto';
import { CommandError, EXIT } from './exit-codes.ts';
import { explainProblem, type Problem } from './explain-problem.ts';
import type { Operation } from './operation.ts';
import type { ApiSettings } from './settings.ts';

/** What a request is made of. */
export interface RequestParts {
  params?: Readonly<Record<string, string>>;
  query?: Readonly<Record<string, string | readonly string[]>>;
  body?: unknown;
  ifMatch?: string;
}

export interface Answer {
  status: number;
  /** Parsed; undefined when there is none. */
  body: unknown;
}

/** Longest that one answer is waited for (ms): the api itself gives up long before. */
const ANSWER_TIMEOUT_MS = 30_000;
/** What reads every live timer has two minutes. */
const SLOW_ANSWER_TIMEOUTS_MS: Readonly<Record<string, number>> = { 'GET /v1/ledger': 130_000 };
/** A request is sent so often while the api says that it passes, or the connection breaks. */
const TRIES_MAX = 4;
/** Between two tries (ms), unless the api names another wait, and the longest that it may name. */
const PAUSE_MS = 500;
const PAUSE_MS_MAX = 10_000;
/** Refused for now. */
const PASSING: readonly (number | string)[] = [429, 503, 'idempotency_in_progress', 'timer_changing'];
/** The connection broke or came to nothing, and another may not. Where nobody listens at all it will not help to try again. */
const MAY_PASS = new Set([
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EAI_AGAIN',
  'UND_ERR_SOCKET',
  'UND_ERR_CONNECT_TIMEOUT',
  'TIMEOUT',
]);

/**
 * Sends requests, and sends them again while that can help. A change carries an `Idempotency-Key` wherever the api takes one,
 * so it is made once however often it is sent.
 */
export class ApiClient {
  readonly #settings: ApiSettings;

  constructor(settings: ApiSettings) {
    this.#settings = settings;
  }

  /** Rejects with a CommandError that tells what to do. `accept`: statuses beside 2xx that are an answer. */
  async send(operation: Operation, parts: RequestParts = {}, accept: readonly number[] = []): Promise<Answer> {
    const key = operation.isKeyed ? randomUUID() : undefined;
    for (let attempt = 1; ; attempt += 1) {
      const isLast = attempt === TRIES_MAX;
      let response: Response;
      let text: string;
      try {
        response = await this.#fetch(operation, parts, key);
        text = await response.text();
      } catch (error) {
        // Without a key a change may have been made though nobody heard of it.
        const mayRepeat = operation.isKeyed || operation.route.startsWith('GET ');
        if (isLast || !mayRepeat || !MAY_PASS.has(readCode(error))) throw this.#explainUnreachable(error);
        await pause(PAUSE_MS);
        continue;
      }
      const body = parseBody(response, text);
      if (response.ok || accept.includes(response.status)) return { status: response.status, body };
      const problem = toProblem(response, body);
      const mayPass = PASSING.includes(problem.status) || PASSING.includes(problem.code);
      if (!isLast && mayPass) {
        await pause(Math.min(PAUSE_MS_MAX, Number(response.headers.get('retry-after') ?? 0) * 1_000 || PAUSE_MS));
        continue;
      }
      const exitCode = response.status >= 500 || response.status === 429 ? EXIT.unavailable : EXIT.bad;
      throw new CommandError(exitCode, explainProblem(problem, this.#settings, operation), problem);
    }
  }

  #fetch({ route, hasBody }: Operation, { params = {}, query = {}, body, ifMatch }: RequestParts, key?: string) {
    const [method, path] = route.split(' ') as [string, string];
    const filled = path.replaceAll(/\{(\w+)\}/g, (_all, name: string) => encodeURIComponent(params[name]!));
    const url = new URL(this.#settings.url + filled);
    for (const [name, values] of Object.entries(query)) {
      for (const value of [values].flat()) url.searchParams.append(name, value);
    }
    const { apiKey } = this.#settings;
    return fetch(url, {
      method,
      // An answer that leads elsewhere is none of ours, and the key is for nobody else.
      redirect: 'error',
      signal: AbortSignal.timeout(SLOW_ANSWER_TIMEOUTS_MS[route] ?? ANSWER_TIMEOUT_MS),
      headers: {
        accept: 'application/json',
        ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
        ...(key !== undefined && { 'idempotency-key': key }),
        ...(ifMatch !== undefined && { 'if-match': ifMatch }),
        ...(hasBody && body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(hasBody && body !== undefined && { body: JSON.stringify(body) }),
    });
  }

  #explainUnreachable(error: unknown): CommandError {
    const { url } = this.#settings;
    const code = readCode(error);
    const why = code === '' ? (error as Error).message : code;
    return new CommandError(
      EXIT.unavailable,
      `No answer from ${url} (${why}). Does Punctual run there? PUNCTUAL_URL or --url says where it is.`,
      { title: 'No answer', detail: why, url },
    );
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** What went wrong below HTTP. */
function readCode(error: unknown): string {
  const { cause, name } = error as { cause?: { code?: string }; name?: string };
  return cause?.code ?? (name === 'TimeoutError' ? 'TIMEOUT' : '');
}

function parseBody(response: Response, text: string): unknown {
  if (text === '') return undefined;
  if (!response.headers.get('content-type')?.includes('json')) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** What is not of the api, such as the page of a proxy, is told as far as it can be. */
function toProblem(response: Response, body: unknown): Problem {
  const known = typeof body === 'object' && body !== null ? (body as Partial<Problem>) : {};
  return {
    ...known,
    status: response.status,
    code: known.code ?? 'unknown',
    detail: known.detail ?? `${response.status} ${response.statusText}: not an answer of Punctual's api.`,
  };
}
