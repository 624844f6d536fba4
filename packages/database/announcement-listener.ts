import pg from 'pg';
import { ANNOUNCEMENT_CHANNEL, type AnnouncedQueue, parseAnnouncement } from './queries/announce-queues.ts';

export interface AnnouncementListenerOptions {
  connectionString: string;
  /** Shown in `pg_stat_activity`. */
  applicationName: string;
  onAnnounced: (queues: readonly AnnouncedQueue[]) => void;
  /** Told whenever it begins or ceases to hear: what was announced in between is lost. */
  onChange: (isListening: boolean) => void;
  onError: (error: Error) => void;
}

/** Between two tries to connect (ms). */
const RECONNECT_PAUSE_MS = 500;
const CONNECT_TIMEOUT_MS = 5_000;
/** How often the connection is asked whether it is still there (ms): a cut that nobody tells of would go unnoticed. */
const CHECK_INTERVAL_MS = 5_000;
const CHECK_TIMEOUT_MS = 4_000;

/**
 * Listens, on a connection of its own, to what schedulers announce. It connects again for as long as it runs. It does not go
 * through a pooler that gives each transaction another connection: nothing would be heard there.
 */
export class AnnouncementListener {
  readonly #options: AnnouncementListenerOptions;
  #client: pg.Client | undefined;
  #isListening = false;
  #timer: NodeJS.Timeout | undefined;
  #connecting: Promise<void> | undefined;
  #isStopped = true;

  constructor(options: AnnouncementListenerOptions) {
    this.#options = options;
  }

  get isListening(): boolean {
    return this.#isListening;
  }

  start(): void {
    if (!this.#isStopped) return;
    this.#isStopped = false;
    this.#connect();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#connecting;
    const client = this.#client;
    this.#client = undefined;
    this.#tell(false);
    await client?.end().catch(() => {});
  }

  #connect(): void {
    this.#connecting = this.#open().catch((error: Error) => this.#lose(this.#client, error));
  }

  async #open(): Promise<void> {
    const client = new pg.Client({
      connectionString: this.#options.connectionString,
      application_name: this.#options.applicationName,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      query_timeout: CHECK_TIMEOUT_MS,
      keepAlive: true,
    });
    this.#client = client;
    client.on('error', (error) => this.#lose(client, error));
    client.on('end', () => this.#lose(client, new Error('the connection was closed')));
    client.on('notification', ({ payload = '' }) => this.#options.onAnnounced(parseAnnouncement(payload)));
    await client.connect();
    await client.query(`LISTEN ${ANNOUNCEMENT_CHANNEL}`);
    if (this.#isStopped || this.#client !== client) return;
    this.#tell(true);
    this.#timer = setTimeout(() => this.#check(client), CHECK_INTERVAL_MS);
  }

  #check(client: pg.Client): void {
    client.query('SELECT 1').then(
      () => {
        if (this.#client === client && !this.#isStopped)
          this.#timer = setTimeout(() => this.#check(client), CHECK_INTERVAL_MS);
      },
      (error: Error) => this.#lose(client, error),
    );
  }

  // May be called several times for one connection.
  #lose(client: pg.Client | undefined, error: Error): void {
    if (this.#client !== client || this.#isStopped) return;
    this.#client = undefined;
    clearTimeout(this.#timer);
    this.#tell(false);
    this.#options.onError(error);
    void client?.end().catch(() => {});
    this.#timer = setTimeout(() => this.#connect(), RECONNECT_PAUSE_MS);
  }

  #tell(isListening: boolean): void {
    if (this.#isListening === isListening) return;
    this.#isListening = isListening;
    this.#options.onChange(isListening);
  }
}
