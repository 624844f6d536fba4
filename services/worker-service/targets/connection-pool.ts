import type { GuardedConnect } from '../egress/guarded-connector.ts';
import { HttpConnection } from './http-connection.ts';

/** Idle connections kept open over all origins; the one idle for longest goes first. Bounds open files and memory. */
export const IDLE_CONNECTIONS_MAX = 1_024;
/** Between two looks for connections that have been idle for long enough (ms). */
const IDLE_CHECK_INTERVAL_MS = 1_000;
/** Attempts that wait for a connection to one origin. The origin gate keeps them fewer; this is the backstop. */
export const WAITING_PER_ORIGIN_MAX = 1_024;

/** What uses a connection, for one request. */
export interface ConnectionUser {
  /** Called once, with a connection that is this user's alone until it is released or discarded. */
  onConnection(connection: Connection): void;
  /** Gives up at once, whatever the phase; the user then withdraws or discards by itself. */
  abort(): void;
}

export interface ConnectionPoolOptions {
  connect: GuardedConnect;
  maxConnectionsPerOrigin: number;
  maxIdleConnections?: number;
}

export interface Connection {
  readonly origin: string;
  readonly http: HttpConnection;
  user: ConnectionUser | undefined;
  /** Its last answer has just come; see `Exchange.onEnd`. */
  isCooling: boolean;
}

interface Origin {
  connections: Set<Connection>;
  /** The most recently used last, and taken first: surplus connections are left to idle out. */
  idle: Connection[];
  waiting: ConnectionUser[];
  /** Connections that will be free in a moment. */
  coolingCount: number;
}

/**
 * Connections per origin, each serving one request at a time. An attempt that is out of time is withdrawn while it waits, and its
 * connection is closed in any later phase, so that nothing is sent afterwards.
 *
 * An origin is forgotten with its last connection, so any number of origins may come by.
 */
export class ConnectionPool {
  readonly #connect: GuardedConnect;
  readonly #maxPerOrigin: number;
  readonly #maxIdle: number;
  readonly #origins = new Map<string, Origin>();
  /** All idle connections, the one idle for longest first. */
  readonly #idle = new Set<Connection>();
  readonly #closing = new Set<Promise<void>>();
  #idleCheck: NodeJS.Timeout | undefined;
  /** Released in this turn of the event loop, and in the turn before. */
  #cooling: Connection[] = [];
  #cooled: Connection[] = [];
  #isTurnDue = false;

  constructor(options: ConnectionPoolOptions) {
    this.#connect = options.connect;
    this.#maxPerOrigin = options.maxConnectionsPerOrigin;
    this.#maxIdle = options.maxIdleConnections ?? IDLE_CONNECTIONS_MAX;
  }

  get originCount(): number {
    return this.#origins.size;
  }

  get idleCount(): number {
    const cooling = [...this.#cooling, ...this.#cooled].filter(({ isCooling }) => isCooling);
    return this.#idle.size + cooling.length;
  }

  /** Hands the user a connection, now or when one is free. False when too many are waiting already. */
  acquire(originName: string, user: ConnectionUser): boolean {
    this.#discardExpired(originName);
    let origin = this.#origins.get(originName);
    if (origin === undefined) {
      origin = { connections: new Set(), idle: [], waiting: [], coolingCount: 0 };
      this.#origins.set(originName, origin);
    }
    const idle = origin.idle.pop();
    if (idle !== undefined) {
      this.#idle.delete(idle);
      this.#hand(idle, user);
    } else if (origin.coolingCount <= origin.waiting.length && origin.connections.size < this.#maxPerOrigin) {
      this.#hand(this.#open(originName, origin), user);
    } else if (origin.waiting.length < WAITING_PER_ORIGIN_MAX) {
      origin.waiting.push(user);
    } else {
      return false;
    }
    return true;
  }

  /** Takes a user out of the queue that has not been handed a connection. */
  withdraw(originName: string, user: ConnectionUser): void {
    const waiting = this.#origins.get(originName)?.waiting;
    const index = waiting?.indexOf(user) ?? -1;
    if (index !== -1) waiting?.splice(index, 1);
  }

  /** Gives a connection back after a complete answer, for the next request. */
  release(connection: Connection): void {
    connection.user = undefined;
    const origin = this.#origins.get(connection.origin);
    if (!origin?.connections.has(connection)) return;
    if (connection.http.idleUntil <= performance.now()) {
      this.discard(connection);
      return;
    }
    connection.isCooling = true;
    origin.coolingCount += 1;
    this.#cooling.push(connection);
    this.#planTurn();
  }

  #planTurn(): void {
    if (this.#isTurnDue) return;
    this.#isTurnDue = true;
    setImmediate(() => this.#turn());
  }

  #turn(): void {
    this.#isTurnDue = false;
    const free = this.#cooled;
    this.#cooled = this.#cooling;
    this.#cooling = [];
    if (this.#cooled.length > 0) this.#planTurn();
    for (const connection of free) if (connection.isCooling) this.#makeFree(connection);
  }

  #makeFree(connection: Connection): void {
    const origin = this.#origins.get(connection.origin)!;
    connection.isCooling = false;
    origin.coolingCount -= 1;
    if (connection.http.idleUntil <= performance.now()) {
      this.discard(connection);
      return;
    }
    const next = origin.waiting.shift();
    if (next !== undefined) {
      this.#hand(connection, next);
      return;
    }
    origin.idle.push(connection);
    this.#idle.add(connection);
    this.#idleCheck ??= setInterval(() => this.#checkIdle(), IDLE_CHECK_INTERVAL_MS).unref();
    if (this.#idle.size > this.#maxIdle) {
      const [longestIdle] = this.#idle;
      if (longestIdle) this.discard(longestIdle);
    }
  }

  /** Closes a connection at once, whether it is connecting, in use or idle. What it was doing is abandoned. */
  discard(connection: Connection): void {
    const origin = this.#origins.get(connection.origin);
    if (!origin?.connections.delete(connection)) return;
    connection.user = undefined;
    if (connection.isCooling) {
      connection.isCooling = false;
      origin.coolingCount -= 1;
    }
    if (this.#idle.delete(connection)) origin.idle.splice(origin.idle.indexOf(connection), 1);
    const closing = connection.http.destroy().finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);

    const next = origin.waiting.shift();
    if (next !== undefined) this.#hand(this.#open(connection.origin, origin), next);
    else if (origin.connections.size === 0) this.#origins.delete(connection.origin);
  }

  /** The users that wait for a connection or hold one. Those waiting come first: aborted in this order, none is served. */
  listUsers(): ConnectionUser[] {
    return [...this.#origins.values()].flatMap((origin) => [
      ...origin.waiting,
      ...[...origin.connections].flatMap((connection) => connection.user ?? []),
    ]);
  }

  /** Closes all idle connections and resolves when every connection given up so far is closed. */
  async close(): Promise<void> {
    clearInterval(this.#idleCheck);
    for (const connection of [...this.#idle, ...this.#cooling, ...this.#cooled]) this.discard(connection);
    await Promise.all(this.#closing);
  }

  #hand(connection: Connection, user: ConnectionUser): void {
    connection.user = user;
    user.onConnection(connection);
  }

  #open(originName: string, origin: Origin): Connection {
    const http = new HttpConnection(originName, this.#connect, () => {
      if (connection.isCooling || this.#idle.has(connection)) this.discard(connection);
    });
    const connection: Connection = { origin: originName, http, user: undefined, isCooling: false };
    origin.connections.add(connection);
    return connection;
  }

  #discardExpired(originName: string): void {
    const idle = this.#origins.get(originName)?.idle;
    if (idle === undefined || idle.length === 0) return;
    const now = performance.now();
    for (let next = idle.at(-1); next && next.http.idleUntil <= now; next = idle.at(-1)) this.discard(next);
  }

  #checkIdle(): void {
    const now = performance.now();
    for (const connection of this.#idle) if (connection.http.idleUntil <= now) this.discard(connection);
    if (this.#idle.size > 0) return;
    clearInterval(this.#idleCheck);
    this.#idleCheck = undefined;
  }
}
