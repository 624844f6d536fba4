import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { type Delivery, TARGETS, type Target } from './delivery.ts';

export interface Receivers {
  urls: Record<Target, string>;
  /** In the order in which they came. */
  deliveries: Delivery[];
  /**
   * Resolves when the first request of a timer, of a run (by its id) or of a run's task (`run id/task key`) has come;
   * to false when it has not come for so long that it will not.
   */
  waitForFirst(name: string): Promise<boolean>;
  /** Resolves when everything that came so far is in `deliveries`. */
  readAll(): Promise<void>;
  stop(): Promise<void>;
}

type Message = { deliveries?: Delivery[]; toldAll?: boolean };

/** The traffic is over long before (ms). */
const FIRST_LIMIT_MS = 60_000;
const PROGRAM = fileURLToPath(new URL('./receiver-process.ts', import.meta.url));

/** Starts the three endpoints, each on a port of its own. They end with this process. */
export async function startReceivers(): Promise<Receivers> {
  const child = fork(PROGRAM, { execArgv: [], stdio: 'inherit' });
  const deliveries: Delivery[] = [];
  const firsts = new Map<string, PromiseWithResolvers<boolean>>();
  const findFirst = (name: string) => firsts.getOrInsertComputed(name, () => Promise.withResolvers<boolean>());
  const [{ ports }] = (await once(child, 'message')) as [{ ports: Record<Target, number> }];
  let readAll = Promise.withResolvers<void>();
  child.on('message', ({ deliveries: told = [], toldAll }: Message) => {
    for (const delivery of told) {
      deliveries.push(delivery);
      const { timerId, runId, taskKey } = delivery.body;
      for (const name of runId === null ? [timerId] : [runId, `${runId}/${taskKey}`]) findFirst(name).resolve(true);
    }
    if (toldAll) readAll.resolve();
  });
  return {
    urls: Object.fromEntries(TARGETS.map((target) => [target, `http://127.0.0.1:${ports[target]}/hook`])) as Record<
      Target,
      string
    >,
    deliveries,
    waitForFirst: (name) => {
      const { promise, resolve } = findFirst(name);
      setTimeout(() => resolve(false), FIRST_LIMIT_MS).unref();
      return promise;
    },
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
