/** Why a request was refused, as the interface tells it. */
export interface AnswerProblem {
  status: number;
  code: string;
  detail: string;
}

/** A request that was answered with a problem. */
export class RequestError extends Error {
  readonly status: number;
  readonly code: string;
  /** When to try again (ms), when the answer said so. */
  readonly retryAfterMs: number | undefined;

  constructor(problem: AnswerProblem, retryAfterMs: number | undefined) {
    super(`${problem.status} ${problem.code}: ${problem.detail}`);
    this.name = 'RequestError';
    this.status = problem.status;
    this.code = problem.code;
    this.retryAfterMs = retryAfterMs;
  }
}

export interface ClientOptions {
  url: string;
  apiKey: string | undefined;
}

/** An answer that has not come by then never will (ms), beyond what the request itself waits. */
const ANSWER_LIMIT_MS = 20_000;

/** Sends requests to Punctual. */
export class Client {
  readonly #url: string;
  readonly #headers: Record<string, string>;

  constructor({ url, apiKey }: ClientOptions) {
    this.#url = url.replace(/\/+$/, '');
    this.#headers = {
      'content-type': 'application/json',
      ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
    };
  }

  /** `body` is sent as JSON, text as it is. Resolves with the answer's body; rejects with RequestError, or with what `fetch` says when there was no answer. */
  async post<Body>(
    path: string,
    body: unknown,
    options: { waitMs?: number; signal?: AbortSignal } = {},
  ): Promise<Body> {
    const limit = AbortSignal.timeout(ANSWER_LIMIT_MS + (options.waitMs ?? 0));
    const response = await fetch(this.#url + path, {
      method: 'POST',
      headers: this.#headers,
      body: typeof body === 'string' ? body : JSON.stringify(body),
      signal: options.signal ? AbortSignal.any([limit, options.signal]) : limit,
    });
    const text = await response.text();
    if (response.ok) return JSON.parse(text) as Body;
    const retryAfterSeconds = Number(response.headers.get('retry-after'));
    throw new RequestError(
      readProblem(response.status, text),
      retryAfterSeconds > 0 ? retryAfterSeconds * 1000 : undefined,
    );
  }
}

function readProblem(status: number, text: string): AnswerProblem {
  try {
    const { code, detail } = JSON.parse(text) as Partial<AnswerProblem>;
    return { status, code: String(code), detail: String(detail) };
  } catch {
    // Something in between answered.
    return { status, code: 'unknown', detail: text.slice(0, 200) };
  }
}

/** Whether the same request may do better later: it was not answered, or the server was busy or away. */
export function mayPass(error: unknown): boolean {
  if (!(error instanceof RequestError)) return true;
  return error.status >= 500 || error.status === 429 || error.status === 408;
}
