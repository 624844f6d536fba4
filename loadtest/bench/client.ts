import { readMonotonicMs } from './clock.ts';
import { LeanClient } from './lean-client.ts';
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

type Method = 'GET' | 'POST' | 'PATCH';

/** Punctual's api, as the benchmark uses it. Whatever is not answered 2xx is an error. */
export class Client {
  readonly #http: LeanClient;
  readonly #headers: string;

  constructor(url: string, apiKey: string) {
    this.#http = new LeanClient(url, CONNECTIONS);
    this.#headers = `content-type: application/json\r\nauthorization: Bearer ${apiKey}\r\n`;
  }

  async send<Answer>(method: Method, path: string, body?: object): Promise<Answer> {
    return JSON.parse(await this.sendText(method, path, body && JSON.stringify(body))) as Answer;
  }

  /** The same with a body that is JSON already, or none; resolves to the answer's. */
  async sendText(method: Method, path: string, text?: string): Promise<string> {
    // What says that it is JSON must be.
    const { status, body } = await this.#http.send(method, path, this.#headers, text ?? (method === 'GET' ? '' : '{}'));
    if (status >= 300) throw new Error(`${method} ${path} was answered ${status}: ${body.slice(0, 500)}`);
    return body;
  }

  close(): void {
    this.#http.close();
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
