import type { Socket } from 'node:net';
import { Client } from 'undici';
import type { GuardedConnect } from '../egress/guarded-connector.ts';

/** Idle connections kept open over all origins; the one idle for longest goes first. Bounds open files and memory. */
export const IDLE_CONNECTIONS_MAX = 1_024;
/**
 * How long an idle connection is kept when its server does not say (ms). Common servers close theirs after 5 s or
 * later; below that, a request never meets a connection that is just being closed at the other end, which it could
 * not tell from one that broke after the request was acted upon.
 */
export const KEEP_ALIVE_MS = 4_000;
/** The most of what a server promises by `Keep-Alive: timeout=` that is used (ms). */
const KEEP_ALIVE_MAX_MS = 60_000;
/** How much sooner than promised an idle connection is given up (ms): the time that the promise travelled and more. */
const KEEP_ALIVE_MARGIN_MS = 1_000;
/** The largest headers of an answer (bytes): what Node's own server and client allow. */
export const RESPONSE_HEADERS_BYTES_MAX = 16_384;
/**
 * The most that is read of one answer, all of it (bytes). What is neither header nor body, such as the extensions of
 * chunks, has no limit of its own, and reading it at the speed of the network would leave no time for others. Far above
 * what headers and body may have, in chunks of any size.
 */
export const RESPONSE_BYTES_MAX = 524_288;
/**
 * The most that the parser is given at a time (bytes). When it finds headers too large it gives up, and yet goes on to the
 * end of what was read, with an error for each further header: 64 KB of short ones took 120 ms.
 */
const PIECE_BYTES_MAX = 2_048;
/** Attempts that wait for a connection to one origin. The origin gate keeps them fewer; this is the backstop. */
export const WAITING_PER_ORIGIN_MAX = 1_024;

/** What uses a connection, for one request. */
export interface ConnectionUser {
  /** Called once, with a connection that is this user's alone until it is released or discarded. */
  onConnection(connection: Connection): void;
  /** The connection could not be established. Harmless when the request has been told already. */
  onConnectionError(error: Error): void;
  /** More than RESPONSE_BYTES_MAX have come, and the answer is not complete. */
  onFlood(): void;
  /** Gives up at once, whatever the phase; the user then withdraws or discards by itself. */
  abort(): void;
}

export interface ConnectionPoolOptions {
  connect: GuardedConnect;
  maxConnectionsPerOrigin: number;
  maxIdleConnections?: number;
}

/** One undici Client, which holds at most one socket and reconnects by itself when the peer closed it between requests. */
export interface Connection {
  readonly origin: string;
  readonly client: Client;
  /** The newest socket, also while it is connecting. */
  socket: Socket | undefined;
  user: ConnectionUser | undefined;
  /** The user of which an answer was first seen to be incomplete, and what the socket had read by then (bytes). */
  reader: ConnectionUser | undefined;
  readBefore: number;
}

interface Origin {
  connections: Set<Connection>;
  /** The most recently used last, and taken first: surplus connections are left to idle out. */
  idle: Connection[];
  waiting: ConnectionUser[];
}

/**
 * Connections per origin, each serving one request at a time, with one undici Client apiece.
 *
 * undici's Agent is not used because a request in it cannot be withdrawn before it is sent: one that is out of time
 * while connecting would keep its connection, and those queued behind it their place, until the connect timeout; a host
 * that swallows packets could pile up as many as it liked. Here the user's `discard` closes the socket in any phase,
 * and nothing is sent afterwards. Speed is no reason: both cost the same.
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

  constructor(options: ConnectionPoolOptions) {
    this.#connect = options.connect;
    this.#maxPerOrigin = options.maxConnectionsPerOrigin;
    this.#maxIdle = options.maxIdleConnections ?? IDLE_CONNECTIONS_MAX;
  }

  get originCount(): number {
    return this.#origins.size;
  }

  get idleCount(): number {
    return this.#idle.size;
  }

  /** Hands the user a connection, now or when one is free. False when too many are waiting already. */
  acquire(originName: string, user: ConnectionUser): boolean {
    let origin = this.#origins.get(originName);
    if (origin === undefined) {
      origin = { connections: new Set(), idle: [], waiting: [] };
      this.#origins.set(originName, origin);
    }
    const idle = origin.idle.pop();
    if (idle !== undefined) {
      this.#idle.delete(idle);
      this.#hand(idle, user);
    } else if (origin.connections.size < this.#maxPerOrigin) {
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
    connection.reader = undefined;
    const origin = this.#origins.get(connection.origin);
    if (!origin?.connections.has(connection)) return;
    const next = origin.waiting.shift();
    if (next !== undefined) {
      this.#hand(connection, next);
      return;
    }
    origin.idle.push(connection);
    this.#idle.add(connection);
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
    if (this.#idle.delete(connection)) origin.idle.splice(origin.idle.indexOf(connection), 1);
    // The client does not know the socket until it is connected, and would leave it to connect on.
    connection.socket?.destroy();
    const closing = connection.client.destroy().finally(() => this.#closing.delete(closing));
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
    for (const connection of [...this.#idle]) this.discard(connection);
    await Promise.all(this.#closing);
  }

  #hand(connection: Connection, user: ConnectionUser): void {
    connection.user = user;
    user.onConnection(connection);
  }

  #open(originName: string, origin: Origin): Connection {
    const client = new Client(originName, {
      connect: (options, callback) => {
        connection.socket = this.#connect(options, (...result) => {
          const [, socket] = result;
          if (socket) readInPieces(socket);
          callback(...result);
          // After undici's own listener, so most answers are complete by then, and there is nothing to look at.
          socket?.on('readable', () => lookForFlood(connection));
        });
      },
      allowH2: false,
      pipelining: 1,
      // The attempt has one deadline for everything.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MAX_MS,
      keepAliveTimeoutThreshold: KEEP_ALIVE_MARGIN_MS,
      maxHeaderSize: RESPONSE_HEADERS_BYTES_MAX,
    });
    const connection: Connection = {
      origin: originName,
      client,
      socket: undefined,
      user: undefined,
      reader: undefined,
      readBefore: 0,
    };
    origin.connections.add(connection);
    // The peer or the idle timeout closed it. In use, it either reconnects by itself or tells its request of the error.
    client.on('disconnect', () => {
      if (this.#idle.has(connection)) this.discard(connection);
    });
    // undici retries some connection errors without telling the request; here every one ends the attempt.
    client.on('connectionError', (_origin, _targets, error) => connection.user?.onConnectionError(error));
    return connection;
  }
}

function readInPieces(socket: Socket): void {
  const read = socket.read.bind(socket);
  socket.read = (size?: number) => {
    if (socket.destroyed) return null;
    return read(size === undefined && socket.readableLength > PIECE_BYTES_MAX ? PIECE_BYTES_MAX : size);
  };
}

function lookForFlood(connection: Connection): void {
  const { user, socket } = connection;
  if (user === undefined || socket === undefined) return;
  if (connection.reader !== user) {
    connection.reader = user;
    connection.readBefore = socket.bytesRead;
  } else if (socket.bytesRead - connection.readBefore > RESPONSE_BYTES_MAX) {
    user.onFlood();
  }
}
