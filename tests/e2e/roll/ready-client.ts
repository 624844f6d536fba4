import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 100;
const CONNECTIONS_MAX = 64;
const ANSWER_LIMIT_MS = 20_000;

export interface Reply {
  status: number;
  body: string;
}

/**
 * Sends requests as a load balancer does: by turns to those processes that said at the last look that they are ready, over
 * connections that stay open, and once. Looks at `urls`, which may grow, ten times a second.
 */
export class ReadyClient {
  readonly #urls: () => readonly string[];
  readonly #agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS_MAX });
  /** Looks wait behind no requests. */
  readonly #looks = new Agent({ keepAlive: true });
  #ready: string[] = [];
  #turn = 0;
  #polling: Promise<void> | undefined;
  #isClosed = false;

  constructor(urls: () => readonly string[]) {
    this.#urls = urls;
  }

  async start(): Promise<void> {
    await this.#look();
    this.#polling = (async () => {
      while (!this.#isClosed) {
        await sleep(POLL_MS);
        await this.#look();
      }
    })();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#polling;
    this.#agent.destroy();
    this.#looks.destroy();
  }

  /** Rejects when nobody is ready, or the connection breaks. */
  async post(path: string, body: unknown): Promise<Reply> {
    const url = this.#ready[this.#turn++ % this.#ready.length];
    if (url === undefined) throw new Error('no api is ready');
    return this.#send(this.#agent, 'POST', url + path, JSON.stringify(body));
  }

  async #look(): Promise<void> {
    const isReady = async (url: string) => {
      const reply = await this.#send(this.#looks, 'GET', `${url}/v1/health/ready`).catch(() => undefined);
      return reply?.status === 200 ? [url] : [];
    };
    this.#ready = (await Promise.all(this.#urls().map(isReady))).flat();
  }

  #send(agent: Agent, method: string, url: string, text?: string): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const headers = text === undefined ? {} : { 'content-type': 'application/json' };
      const message = request(url, { method, agent, headers, timeout: ANSWER_LIMIT_MS }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }),
        );
        response.on('error', reject);
      });
      message.on('timeout', () => message.destroy(new Error(`no answer within ${ANSWER_LIMIT_MS} ms`)));
      message.on('error', reject);
      message.end(text);
    });
  }
}
