import pg from 'pg';
import { isDatabaseUnavailable, isPoolTimeout, PoolExhaustedError } from './errors.ts';

type ConnectCallback = Parameters<pg.Pool['connect']>[0];

/**
 * A pool that says why a caller got no connection in time. When others' came back in good order until the end of its
 * wait, all were taken by our own load: PoolExhaustedError. When none did, Postgres may as well be away or stuck, and
 * the error stays pg's.
 */
export class Pool extends pg.Pool {
  /** When a connection last came back from a server that had answered, and when the last fault showed (process' monotonic ms). */
  #answeredAt = Number.NEGATIVE_INFINITY;
  #failedAt = Number.NEGATIVE_INFINITY;

  constructor(config: pg.PoolConfig) {
    super(config);
    this.on('release', (error) => {
      // A refused statement was answered, too.
      if (error && isDatabaseUnavailable(error)) this.#failedAt = performance.now();
      else this.#answeredAt = performance.now();
    });
  }

  override connect(): Promise<pg.PoolClient>;
  override connect(callback: ConnectCallback): void;
  // `query` comes here, too.
  override connect(callback?: ConnectCallback): Promise<pg.PoolClient> | undefined {
    const askedAt = performance.now();
    if (!callback) {
      return super.connect().catch((error: Error) => {
        throw this.#explain(error, askedAt);
      });
    }
    super.connect((error, client, done) => callback(error && this.#explain(error, askedAt), client, done));
    return undefined;
  }

  #explain(error: Error, askedAt: number): Error {
    const now = performance.now();
    if (!isPoolTimeout(error)) {
      this.#failedAt = now;
      return error;
    }
    // A server that fell silent during the first half of the wait may be what kept the caller waiting.
    const isServed = this.#answeredAt > (askedAt + now) / 2 && this.#answeredAt > this.#failedAt;
    return isServed ? new PoolExhaustedError(error) : error;
  }
}
