import { sendPersistently } from '@punctual/testkit';

/** What tests look at of a timer as the API shows it. */
export interface Timer {
  id: string;
  status: 'scheduled' | 'running' | 'paused' | 'succeeded' | 'dead' | 'cancelled' | 'skipped';
  version: number;
  attempt: number;
  dueAt: string;
  createdAt: string;
  payload?: unknown;
}

/** What tests look at of a run. */
export interface Run {
  id: string;
  status: 'running' | 'paused' | 'succeeded' | 'failed' | 'cancelled';
  tasks: { key: string; status: string; timerId?: string; attempts: number }[];
}

/** The error of a refused request, or of one item of a batch. */
export interface Problem {
  code: string;
  status: number;
  detail?: string;
}

export interface BatchResult {
  status: number;
  timer?: Timer;
  run?: Run;
  error?: Problem;
}

export interface Answer<Body> {
  status: number;
  headers: Headers;
  body: Body;
  /** When the answer was here (epoch ms). */
  at: number;
}

/** Longest wait for an answer (ms): the API promises to answer within 5 s, the rest is for a machine that is busy. */
const ANSWER_LIMIT_MS = 20_000;

/** Sends one request and reads the whole answer; a body that is not JSON comes back as text. */
export async function send<Body = unknown>(
  url: string,
  method = 'GET',
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer<Body>> {
  const response = await fetch(url, {
    method,
    headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(ANSWER_LIMIT_MS),
  });
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.includes('json') ?? false;
  return {
    status: response.status,
    headers: response.headers,
    body: (isJson ? JSON.parse(text) : text) as Body,
    at: Date.now(),
  };
}

/** The APIs of a stack, asked in turn, as behind a load balancer. */
export class ApiClient {
  readonly #urls: readonly string[];
  readonly #repeatsMax: number;
  #next = 0;

  /** `repeatsMax`: how often a request that is answered 503 is sent again; a busy machine gives those. */
  constructor(urls: readonly string[], repeatsMax = 0) {
    this.#urls = urls;
    this.#repeatsMax = repeatsMax;
  }

  /**
   * One that is answered 503 is sent again when the answer says, as often as the client was told; while faults are
   * injected, until it is answered otherwise.
   */
  async send<Body = unknown>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer<Body>> {
    return sendPersistently(
      method,
      headers,
      (all) => this.#sendPatiently<Body>(method, path, body, all),
      (answer) => ({
        status: answer.status,
        retryAfter: answer.headers.get('retry-after'),
        code: (answer.body as Partial<Problem> | undefined)?.code,
      }),
    );
  }

  async #sendPatiently<Body>(method: string, path: string, body: unknown, headers: Record<string, string>) {
    for (let repeats = 0; ; repeats += 1) {
      this.#next = (this.#next + 1) % this.#urls.length;
      const answer = await send<Body>(`${this.#urls[this.#next]}${path}`, method, body, headers);
      const retryAfterSeconds = Number(answer.headers.get('retry-after'));
      if (answer.status !== 503 || !(retryAfterSeconds > 0) || repeats >= this.#repeatsMax) return answer;
      await new Promise((resolve) => setTimeout(resolve, retryAfterSeconds * 1000));
    }
  }

  /** Throws unless the answer has one of the statuses: for requests whose failure would make the rest pointless. */
  async expect<Body>(statuses: readonly number[], method: string, path: string, body?: unknown): Promise<Body> {
    const answer = await this.send<Body>(method, path, body);
    if (statuses.includes(answer.status)) return answer.body;
    throw new Error(`${method} ${path} was answered ${answer.status}: ${JSON.stringify(answer.body).slice(0, 500)}`);
  }

  /** All pages of a list, `query` without `limit` and `cursor`. */
  async list<Item>(path: string, query: Record<string, string> = {}): Promise<Item[]> {
    const items: Item[] = [];
    let cursor: string | null = null;
    do {
      const parameters = new URLSearchParams({ ...query, limit: '200', ...(cursor !== null && { cursor }) });
      const page: { data: Item[]; nextCursor: string | null } = await this.expect(
        [200],
        'GET',
        `${path}?${parameters}`,
      );
      items.push(...page.data);
      cursor = page.nextCursor;
    } while (cursor !== null);
    return items;
  }
}

/** Calls `work` for each item, `atOnce` of them at the same time. */
export async function forEachConcurrently<Item>(
  items: readonly Item[],
  atOnce: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  let next = 0;
  const take = async () => {
    for (let index = next++; index < items.length; index = next++) await work(items[index]!);
  };
  await Promise.all(Array.from({ length: atOnce }, take));
}

/** Cuts a list into pieces of at most `size`. */
export function cut<Item>(items: readonly Item[], size: number): Item[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, index) =>
    items.slice(index * size, (index + 1) * size),
  );
}
