import { Backoff } from './backoff.ts';
import { type Client, mayPass, RequestError } from './client.ts';

/** A task in hand. */
export interface HeldTask {
  id: string;
  leaseToken: string;
}

interface Completion {
  task: HeldTask;
  /** As it stands in the request, JSON text. */
  item: string;
  bytes: number;
  resolve: () => void;
  reject: (error: unknown) => void;
}

/** What a handler gave that can not be stored: the task failed for good. */
export class OutputError extends Error {
  readonly isRetryable = false;

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'OutputError';
  }
}

interface BatchAnswer {
  results: { status: number; error?: { code: string; detail: string } }[];
}

/** Completions in one request, and their bytes: half of what the interface takes, as proxies may take less. */
const BATCH_MAX = 200;
const BATCH_BYTES_MAX = 4 * 1_048_576 - 1_024;
/** An output as JSON text, in bytes of UTF-8: what the interface takes. */
const OUTPUT_BYTES_MAX = 65_536;
/** What is told of a failure (characters). */
const REASON_LENGTH_MAX = 4_000;
/** How long the first of them waits for others (ms), and requests under way at once. */
const WINDOW_MS = 3;
const REQUESTS_MAX = 2;
/** Tries of one end; meanwhile the lease is extended, so nobody else does the task. */
const TRIES_MAX = 10;

/** Tells Punctual how tasks went, completions many at a time, again and again while it is away. */
export class TaskEnds {
  readonly #client: Client;
  #waiting: Completion[] = [];
  #requests = 0;
  #window: NodeJS.Timeout | undefined;

  constructor(client: Client) {
    this.#client = client;
  }

  /**
   * Resolves when it is stored; rejects when the lease was lost, or nobody answers, and with OutputError when the output can
   * not be stored: then the task has failed for good, as every attempt would give the like.
   */
  async complete(task: HeldTask, output: unknown): Promise<void> {
    let item: string;
    try {
      item = writeItem(task, output);
    } catch (error) {
      return this.#refuse(task, error as OutputError);
    }
    await new Promise<void>((resolve, reject) => {
      this.#waiting.push({ task, item, bytes: Buffer.byteLength(item) + 1, resolve, reject });
      if (this.#waiting.length >= BATCH_MAX) this.#send();
      else this.#window ??= setTimeout(() => this.#send(), WINDOW_MS);
    });
  }

  /** The same for an attempt that failed. */
  async fail(task: HeldTask, error: string, isRetryable: boolean): Promise<void> {
    await tryAgain(() => this.#tell(task, 'fail', { error, retryable: isRetryable }));
  }

  /** Extends the lease. Rejects when it was lost. */
  async heartbeat(task: HeldTask, leaseSeconds: number): Promise<void> {
    await this.#tell(task, 'heartbeat', { leaseSeconds });
  }

  #tell(task: HeldTask, verb: string, fields: object): Promise<unknown> {
    return this.#client.post(`/v1/tasks/${task.id}/${verb}`, { leaseToken: task.leaseToken, ...fields });
  }

  #send(): void {
    clearTimeout(this.#window);
    this.#window = undefined;
    while (this.#waiting.length > 0 && this.#requests < REQUESTS_MAX) {
      const batch = this.#waiting.splice(0, countFirst(this.#waiting));
      this.#requests += 1;
      void this.#sendBatch(batch).finally(() => {
        this.#requests -= 1;
        this.#send();
      });
    }
  }

  async #sendBatch(batch: readonly Completion[]): Promise<void> {
    const body = `{"tasks":[${batch.map(({ item }) => item).join(',')}]}`;
    try {
      const { results } = await tryAgain(() => this.#client.post<BatchAnswer>('/v1/tasks/batch/complete', body));
      for (const [index, { resolve, reject }] of batch.entries()) {
        const { status, error } = results[index]!;
        if (status === 200) resolve();
        else reject(new RequestError({ status, code: error?.code ?? '', detail: error?.detail ?? '' }, undefined));
      }
    } catch (error) {
      if (isOfContent(error)) return this.#sendLess(batch, error);
      for (const { reject } of batch) reject(error);
    }
  }

  /** After a request that is too large, or in which something is wrong, by halves: what is alone with its fault has failed. */
  async #sendLess(batch: readonly Completion[], error: RequestError): Promise<void> {
    if (batch.length > 1) {
      const half = Math.ceil(batch.length / 2);
      await this.#sendBatch(batch.slice(0, half));
      return this.#sendBatch(batch.slice(half));
    }
    const { task, resolve, reject } = batch[0]!;
    const refusal = new OutputError(`the output was refused: ${error.message}`, { cause: error });
    await this.#refuse(task, refusal).then(resolve, reject);
  }

  async #refuse(task: HeldTask, error: OutputError): Promise<void> {
    await this.fail(task, error.message.slice(0, REASON_LENGTH_MAX), false);
    throw error;
  }
}

/** Throws OutputError. */
function writeItem({ id, leaseToken }: HeldTask, output: unknown): string {
  const head = JSON.stringify({ id, leaseToken });
  let text: string | undefined;
  try {
    text = JSON.stringify(output);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new OutputError(`the output can not be written as JSON: ${reason}`, { cause: error });
  }
  if (text === undefined) return head;
  const bytes = Buffer.byteLength(text);
  if (bytes > OUTPUT_BYTES_MAX) {
    throw new OutputError(`the output has ${bytes} bytes as JSON; it may have ${OUTPUT_BYTES_MAX}`);
  }
  return `${head.slice(0, -1)},"output":${text}}`;
}

/** How many of these one request takes, from the first on: one at least. */
function countFirst(waiting: readonly Completion[]): number {
  let bytes = 0;
  const end = waiting.findIndex((completion, index) => {
    bytes += completion.bytes;
    return index === BATCH_MAX || (index > 0 && bytes > BATCH_BYTES_MAX);
  });
  return end === -1 ? waiting.length : end;
}

/** Whether the request was refused for what it holds. */
function isOfContent(error: unknown): error is RequestError {
  return error instanceof RequestError && (error.status === 413 || error.status === 400);
}

async function tryAgain<T>(send: () => Promise<T>): Promise<T> {
  const backoff = new Backoff();
  for (let tries = 1; ; tries += 1) {
    try {
      return await send();
    } catch (error) {
      if (!mayPass(error) || tries >= TRIES_MAX) throw error;
      await backoff.wait(error);
    }
  }
}
