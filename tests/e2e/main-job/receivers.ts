import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { type Delivery, TARGETS, type Target } from './delivery.ts';

export interface Receivers {
  urls: Record<Target, string>;
  /** In the order in which they came. */
  deliveries: Delivery[];
  /** Resolves when the first request of a timer, or of a run, has come. */
  waitForFirst(id: string): Promise<void>;
  /** Resolves when everything that came so far is in `deliveries`. */
  readAll(): Promise<void>;
  stop(): Promise<void>;
}

type Message = { deliveries?: Delivery[]; toldAll?: boolean };

const PROGRAM = fileURLToPath(new URL('./receiver-process.ts', import.meta.url));

/** Starts the three endpoints, each on a port of its own. They end with this process. */
export async function startReceivers(): Promise<Receivers> {
  const child = fork(PROGRAM, { execArgv: [], stdio: 'inherit' });
  const deliveries: Delivery[] = [];
  const firsts = new Map<string, PromiseWithResolvers<void>>();
  const findFirst = (id: string) => firsts.getOrInsertComputed(id, () => Promise.withResolvers<void>());
  const [{ ports }] = (await once(child, 'message')) as [{ ports: Record<Target, number> }];
  let readAll = Promise.withResolvers<void>();
  child.on('message', ({ deliveries: told = [], toldAll }: Message) => {
    for (const delivery of told) {
      deliveries.push(delivery);
      findFirst(delivery.timerId).resolve();
      if (delivery.body.runId !== null) findFirst(delivery.body.runId).resolve();
    }
    if (toldAll) readAll.resolve();
  });
  return {
    urls: Object.fromEntries(TARGETS.map((target) => [target, `http://127.0.0.1:${ports[target]}/hook`])) as Record<
      Target,
      string
    >,
    deliveries,
    waitForFirst: (id) => findFirst(id).promise,
    readAll: () => {
      readAll = Promise.withResolvers<void>();
      child.send({});
      return readAll.promise;
    },
    stop: async () => {
      const ended = once(child, 'exit');
      child.disconnect();
      await ended;
    },
  };
}
