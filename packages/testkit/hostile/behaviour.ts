import type { Socket } from 'node:net';

/** What must come of an attempt at an endpoint, in the words of `GET /v1/timers/{id}/attempts`. */
export interface ExpectedAttempt {
  outcome: 'succeeded' | 'retryable' | 'permanent' | 'timedOut' | 'blocked';
  /** Whether it told that the endpoint is alive, that it gave no answer, or nothing. */
  contact: 'answered' | 'unanswered' | 'unknown';
  httpStatus?: number;
  /** Part of its `error`. */
  error?: string;
  /** What is asked for by `Retry-After`, at least and at most (ms); `ignored` when that makes no sense. */
  retryAfterMs?: readonly [number, number] | 'ignored';
}

/** What an endpoint does, on a connection whose other end may do as it likes. */
export interface Behaviour {
  /** Follows "an endpoint that". */
  name: string;
  expected: ExpectedAttempt;
  /** What may come of it as well: on a machine too busy to read a flood in time, or when attempts share one look-up. */
  alternative?: ExpectedAttempt;
  /** Of the URL; `/` when absent. Behaviours with paths may share a server. */
  path?: string;
  /** A URL of https, over plain TCP unless there is a certificate. */
  isHttps?: boolean;
  certificate?: string;
  /** It never learns that a connection was closed at the other end. */
  isBlind?: boolean;
  /** Called when the connection is there, for https after the handshake. */
  onConnection?: (socket: Socket) => void;
  /** Called for each complete request. */
  onRequest?: (socket: Socket) => void;
  /** Called for bytes that come before anything else was made of them: of a handshake. */
  onFirstBytes?: (socket: Socket) => void;
}

/** Writes a block again and again, as fast as the other end takes it, until the connection is closed. */
export function flood(socket: Socket, block: Buffer | string): void {
  const write = () => {
    while (!socket.destroyed && socket.write(block));
  };
  socket.on('drain', write);
  write();
}

/** Writes the pieces one after the other, one in each interval, the last again and again. */
export function drip(socket: Socket, pieces: readonly string[], intervalMs: number): void {
  let next = 0;
  const write = () => {
    if (socket.destroyed) return;
    socket.write(pieces[Math.min(next, pieces.length - 1)]!);
    next += 1;
  };
  write();
  const timer = setInterval(write, intervalMs);
  socket.on('close', () => clearInterval(timer));
}

/** An answer with a length, which leaves the connection open. */
export function formatAnswer(status: number, headers: readonly string[] = [], body = ''): string {
  const lines = headers.map((line) => `${line}\r\n`).join('');
  return `HTTP/1.1 ${status} Whatever\r\ncontent-length: ${Buffer.byteLength(body)}\r\n${lines}\r\n${body}`;
}
