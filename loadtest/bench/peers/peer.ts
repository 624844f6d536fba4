/** What a peer's jobs carry. */
export interface Job {
  /** Epoch ms. */
  dueAt: number;
  payload: string;
}

export interface Urls {
  databaseUrl: string;
  redisUrl: string;
}

/** Calls the sink for one job. `id` must be the job's own, so that a repeat shows. Rejects unless it is answered 2xx. */
export type Deliver = (id: string, job: Job) => Promise<void>;

/** A library of delayed jobs, configured as its authors advise and as tuning shows best. */
export interface Peer {
  /** Creates its tables, where it has any. */
  setUp(urls: Urls): Promise<void>;
  openProducer(urls: Urls): Promise<Producer>;
  /** Jobs that this process may perform at once are for the peer to say; `deliver` takes any number. */
  openWorker(urls: Urls, deliver: Deliver): Promise<{ close(): Promise<void> }>;
}

export interface Producer {
  /** Stores one batch. */
  addMany(jobs: readonly Job[]): Promise<void>;
  addOne(job: Job): Promise<void>;
  close(): Promise<void>;
}
