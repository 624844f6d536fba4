import { signalTree } from '@punctual/e2e';

/** How a server ends: in order, without writing what it has in memory, or as when its machine is switched off. */
export type StopMode = 'fast' | 'immediate' | 'kill';

export interface Server {
  url: string;
  pid: number;
  stop(): Promise<void>;
  exited: Promise<unknown>;
}

/** Postgres or Redis, on a port that stays the same when it is stopped and started again. */
export class ManagedServer {
  readonly url: string;
  readonly #open: () => Promise<Server>;
  #server: Server | undefined;

  private constructor(open: () => Promise<Server>, server: Server) {
    this.#open = open;
    this.url = server.url;
    this.#adopt(server);
  }

  /** `open` starts it on what its predecessor left. */
  static async start(open: () => Promise<Server>): Promise<ManagedServer> {
    return new ManagedServer(open, await open());
  }

  async stop(mode: StopMode = 'fast'): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    signalTree(server.pid, 'SIGCONT');
    if (mode === 'fast') await server.stop();
    else if (mode === 'immediate') process.kill(server.pid, 'SIGQUIT');
    else signalTree(server.pid, 'SIGKILL');
    await server.exited;
  }

  /** Does nothing where it runs. */
  async start(): Promise<void> {
    if (this.#server === undefined) this.#adopt(await this.#open());
  }

  freeze(): void {
    if (this.#server) signalTree(this.#server.pid, 'SIGSTOP');
  }

  thaw(): void {
    if (this.#server) signalTree(this.#server.pid, 'SIGCONT');
  }

  #adopt(server: Server): void {
    this.#server = server;
    // It may end by itself, when its disk is full.
    void server.exited.then(() => {
      if (this.#server === server) this.#server = undefined;
    });
  }
}
