import { Pool } from 'undici';
import { readMonotonicMs } from './clock.ts';
import { percentile } from './percentile.ts';

/** Connections to one api process: enough to keep it busy, few enough that a laptop has them. */
const CONNECTIONS = 128;

/** What a number of requests came to. Times in ms. */
export interface Requests {
  count: number;
  perSecond: number;
  p50: number;
  p99: number;
}

/** Punctual's api, as the benchmark uses it. Whatever is not answered 2xx is an error. */
export class Client {
  readonly #pool: Pool;
  readonly #headers: Record<string, string>;

  constructor(url: string, apiKey?: string) {
    this.#pool = new Pool(url, { connections: CONNECTIONS, pipelining: 1, allowH2: false });
    this.#headers = {
      'content-type': 'application/json',
      ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
    };
  }

  async send<Answer>(method: 'GET' | 'POST' | 'PATCH', path: string, body?: object): Promise<Answer> {
    const response = await this.#pool.request({
      method,
      path,
      headers: this.#headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.body.text();
    if (response.statusCode >= 300) {
      throw new Error(`${method} ${path} was answered ${response.statusCode}: ${text.slice(0, 500)}`);
    }
    return JSON.parse(text) as Answer;
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }
}

/** Calls `work` with 0 to `count` − 1, so many at once, closed loop. */
export async function runClosedLoop(
  count: number,
  atOnce: number,
  work: (index: number) => Promise<unknown>,
): Promise<Requests> {
  const took: number[] = [];
  let next = 0;
  const beganAt = readMonotonicMs();
  const loop = async () => {
    while (next < count) {
      const index = next;
      next += 1;
      const sentAt = readMonotonicMs();
      await work(index);
      took.push(readMonotonicMs() - sentAt);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, loop));
  const seconds = (readMonotonicMs() - beganAt) / 1000;
  took.sort((a, b) => a - b);
  return {
    count,
    perSecond: Math.round(count / seconds),
    p50: percentile(took, 0.5),
    p99: percentile(took, 0.99),
  };
}
