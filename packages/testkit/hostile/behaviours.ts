import type { Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { type Behaviour, drip, type ExpectedAttempt, flood, formatAnswer } from './behaviour.ts';
import { EXPIRED_CERTIFICATE, SELF_SIGNED_CERTIFICATE, WRONG_HOST_CERTIFICATE } from './certificates.ts';

const BLOCK = Buffer.alloc(65_536, 'x');
const GIGABYTE = 1_073_741_824;
const DRIP_MS = 1_000;
/** Longer than any worker takes. */
const LONG_LINE = 65_536;
const MEBIBYTE_OF_ZEROS = gzipSync(Buffer.alloc(1_048_576));

const unanswered: ExpectedAttempt = { outcome: 'timedOut', contact: 'unanswered', error: 'There was no answer within' };
const unconnected: ExpectedAttempt = { ...unanswered, error: 'There was no connection within' };
const incomplete: ExpectedAttempt = {
  outcome: 'timedOut',
  contact: 'answered',
  httpStatus: 200,
  error: 'The answer was not complete within',
};
const succeeded: ExpectedAttempt = { outcome: 'succeeded', contact: 'answered', httpStatus: 200 };
const closed: ExpectedAttempt = {
  outcome: 'retryable',
  contact: 'unanswered',
  error: 'The connection was closed before the answer was complete.',
};
const closedLate: ExpectedAttempt = { ...closed, contact: 'answered', httpStatus: 200 };
const tooLarge: ExpectedAttempt = {
  outcome: 'retryable',
  contact: 'answered',
  error: 'The headers of the answer are too large.',
};
const invalid: ExpectedAttempt = { outcome: 'retryable', contact: 'answered', error: 'The answer is not valid HTTP.' };
const wrongLength: ExpectedAttempt = {
  outcome: 'retryable',
  contact: 'answered',
  error: 'The answer does not have the length it announced.',
};
const write = (text: string) => (socket: Socket) => void socket.write(text);

const SILENT: readonly Behaviour[] = [
  { name: 'never reads', expected: unanswered, isBlind: true, onConnection: (socket) => void socket.pause() },
  { name: 'hangs before its headers', expected: unanswered },
  { name: 'hangs in its status line', expected: unanswered, onRequest: write('HTTP/1.1 20') },
  { name: 'hangs in its headers', expected: unanswered, onRequest: write('HTTP/1.1 200 OK\r\nx-a: b\r\n') },
  {
    name: 'hangs after its headers',
    expected: incomplete,
    onRequest: write('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n'),
  },
  {
    name: 'hangs within its body',
    expected: incomplete,
    onRequest: write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n'),
  },
  {
    name: 'sends its headers a byte a second',
    expected: unanswered,
    onRequest: (socket) => drip(socket, [...'HTTP/1.1 200 OK\r\nx-a: b'], DRIP_MS),
  },
  {
    name: 'sends its body a byte a second',
    expected: incomplete,
    onRequest: (socket) => drip(socket, ['HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n', 'x'], DRIP_MS),
  },
  {
    name: 'sends its body a chunk a second',
    expected: incomplete,
    onRequest: (socket) =>
      drip(socket, ['HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n', '1\r\nx\r\n'], DRIP_MS),
  },
  {
    name: 'sends early hints once a second and nothing else',
    expected: unanswered,
    onRequest: (socket) => drip(socket, ['HTTP/1.1 103 Early Hints\r\n\r\n'], DRIP_MS),
  },
];

const FLOODING: readonly Behaviour[] = [
  {
    name: 'sends a gigabyte',
    expected: succeeded,
    onRequest: (socket) => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${GIGABYTE}\r\n\r\n`);
      flood(socket, BLOCK);
    },
  },
  {
    name: 'fails with a gigabyte',
    expected: { outcome: 'retryable', contact: 'answered', httpStatus: 500, error: 'The endpoint answered 500.' },
    onRequest: (socket) => {
      socket.write(`HTTP/1.1 500 Oops\r\ncontent-length: ${GIGABYTE}\r\n\r\n`);
      flood(socket, BLOCK);
    },
  },
  {
    name: 'sends chunks without end',
    expected: succeeded,
    onRequest: (socket) => {
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
      flood(socket, `10000\r\n${BLOCK.toString()}\r\n`);
    },
  },
  {
    name: 'sends without end, and without a length',
    expected: succeeded,
    onRequest: (socket) => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      flood(socket, BLOCK);
    },
  },
  {
    // Members that follow each other are one stream, so this is a gigabyte.
    name: 'sends a gigabyte as a megabyte of gzip',
    expected: succeeded,
    onRequest: (socket) => {
      const length = MEBIBYTE_OF_ZEROS.length * 1_024;
      socket.write(`HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: ${length}\r\n\r\n`);
      for (let member = 0; member < 1_024 && !socket.destroyed; member += 1) socket.write(MEBIBYTE_OF_ZEROS);
    },
  },
  {
    name: 'sends fifty megabytes as few kilobytes of gzip',
    expected: succeeded,
    onRequest: (socket) => {
      const length = MEBIBYTE_OF_ZEROS.length * 50;
      socket.write(`HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: ${length}\r\n\r\n`);
      for (let member = 0; member < 50; member += 1) socket.write(MEBIBYTE_OF_ZEROS);
    },
  },
  {
    name: 'sends one header without end',
    expected: tooLarge,
    onRequest: (socket) => {
      socket.write('HTTP/1.1 200 OK\r\nx-a: ');
      flood(socket, BLOCK);
    },
  },
  {
    name: 'sends headers without end',
    expected: tooLarge,
    onRequest: (socket) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      flood(socket, 'x-a: b\r\n'.repeat(8_192));
    },
  },
  {
    name: 'sends early hints without end',
    expected: { outcome: 'retryable', contact: 'answered', error: 'The endpoint announced its answer too often.' },
    onRequest: (socket) => flood(socket, 'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(2_048)),
  },
  {
    name: 'sends trailers without end',
    expected: { ...tooLarge, httpStatus: 200 },
    onRequest: (socket) => {
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n');
      flood(socket, 'x-a: b\r\n'.repeat(8_192));
    },
  },
  {
    name: 'sends a chunk extension without end',
    expected: succeeded,
    alternative: incomplete,
    onRequest: (socket) => {
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;a=');
      flood(socket, BLOCK);
    },
  },
  {
    name: 'sends a status line without end',
    expected: tooLarge,
    onRequest: (socket) => {
      socket.write('HTTP/1.1 200 ');
      flood(socket, BLOCK);
    },
  },
  {
    name: 'sends a huge status line',
    expected: tooLarge,
    onRequest: (socket) => void socket.write(`HTTP/1.1 200 ${'a'.repeat(LONG_LINE)}\r\ncontent-length: 0\r\n\r\n`),
  },
];

const BROKEN: readonly Behaviour[] = [
  { name: 'speaks another protocol', expected: invalid, onRequest: write('SSH-2.0-OpenSSH_9.6\r\n\r\n') },
  { name: 'sends a status that is no number', expected: invalid, onRequest: write('HTTP/1.1 abc OK\r\n\r\n') },
  {
    name: 'sends bytes at random',
    expected: invalid,
    onRequest: (socket) => void socket.write(Buffer.from([0, 255, 13, 10, 7])),
  },
  { name: 'sends a header without a colon', expected: invalid, onRequest: write('HTTP/1.1 200 OK\r\nbroken\r\n\r\n') },
  { name: 'sends NUL in a header', expected: invalid, onRequest: write('HTTP/1.1 200 OK\r\nx-a: \0\r\n\r\n') },
  {
    name: 'sends a length that is no number',
    expected: invalid,
    onRequest: write('HTTP/1.1 200 OK\r\ncontent-length: ten\r\n\r\n'),
  },
  {
    name: 'sends a length below zero',
    expected: invalid,
    onRequest: write('HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n'),
  },
  {
    name: 'sends a length that no number holds',
    expected: wrongLength,
    onRequest: write(`HTTP/1.1 200 OK\r\ncontent-length: ${'9'.repeat(40)}\r\n\r\n`),
  },
  {
    name: 'sends a chunk whose length is no number',
    expected: { ...invalid, httpStatus: 200 },
    onRequest: write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nab\r\n'),
  },
  {
    name: 'sends two lengths',
    expected: wrongLength,
    onRequest: write('HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab'),
  },
  {
    name: 'asks for another protocol',
    expected: invalid,
    onRequest: write('HTTP/1.1 101 Switching\r\nupgrade: h2c\r\n\r\n'),
  },
  {
    name: 'changes to another protocol unasked',
    expected: invalid,
    onRequest: write('HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n'),
  },
  {
    name: 'answers with a status that nobody knows',
    expected: { outcome: 'permanent', contact: 'answered', httpStatus: 999, error: 'The endpoint answered 999.' },
    onRequest: write(formatAnswer(999)),
  },
];

const BREAKING: readonly Behaviour[] = [
  { name: 'resets each connection', expected: closed, onConnection: (socket) => void socket.resetAndDestroy() },
  {
    name: 'resets the connection instead of answering',
    expected: closed,
    onRequest: (socket) => void socket.resetAndDestroy(),
  },
  {
    name: 'resets the connection within its body',
    expected: closedLate,
    onRequest: (socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nabc');
      // A reset overtakes what was written, so it waits until that must have been read.
      setTimeout(() => socket.resetAndDestroy(), 50);
    },
  },
  { name: 'closes instead of answering', expected: closed, onRequest: (socket) => void socket.end() },
  {
    name: 'closes within its headers',
    expected: closed,
    onRequest: (socket) => void socket.end('HTTP/1.1 200 OK\r\nx-a'),
  },
  {
    name: 'closes within its body',
    expected: closedLate,
    onRequest: (socket) => void socket.end('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab'),
  },
  {
    name: 'closes within a chunk',
    expected: closedLate,
    onRequest: (socket) => void socket.end('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab'),
  },
  { name: 'closes its half before it reads', expected: closed, onConnection: (socket) => void socket.end() },
];

const TLS: readonly Behaviour[] = [
  {
    name: 'has an expired certificate',
    certificate: EXPIRED_CERTIFICATE,
    expected: { outcome: 'retryable', contact: 'unanswered', error: 'The TLS certificate has expired.' },
    onRequest: write(formatAnswer(200)),
  },
  {
    name: 'has a self-signed certificate',
    certificate: SELF_SIGNED_CERTIFICATE,
    expected: { outcome: 'retryable', contact: 'unanswered', error: 'The TLS certificate is self-signed.' },
    onRequest: write(formatAnswer(200)),
  },
  {
    name: 'has a certificate for another host',
    certificate: WRONG_HOST_CERTIFICATE,
    expected: { outcome: 'retryable', contact: 'unanswered', error: 'The TLS certificate is for another host.' },
    onRequest: write(formatAnswer(200)),
  },
  { name: 'never begins its handshake', isHttps: true, expected: unconnected },
  {
    name: 'stalls within its handshake',
    isHttps: true,
    expected: unconnected,
    // The head of a ServerHello of 122 bytes, of which none follow.
    onFirstBytes: (socket) => void socket.write(Buffer.from([0x16, 3, 3, 0, 0x7a, 2])),
  },
  {
    name: 'speaks plain HTTP instead of its handshake',
    isHttps: true,
    expected: { outcome: 'retryable', contact: 'unanswered', error: 'The connection failed' },
    onFirstBytes: write(formatAnswer(200)),
  },
  {
    name: 'resets the connection within its handshake',
    isHttps: true,
    expected: closed,
    onFirstBytes: (socket) => void socket.resetAndDestroy(),
  },
];

/** Everything that an endpoint with an address of its own can do, but redirect and ask to wait. */
export const BEHAVIOURS: readonly Behaviour[] = [...SILENT, ...FLOODING, ...BROKEN, ...BREAKING, ...TLS];

/** One redirect of each kind to `target`, and one to where it comes from, all on one server. */
export function listRedirects(target: string): Behaviour[] {
  const redirect = (name: string, status: number, path: string, location: string | undefined): Behaviour => ({
    name,
    path,
    expected: {
      outcome: 'permanent',
      contact: 'answered',
      httpStatus: status,
      error: `The endpoint answered ${status}; redirects are not followed.`,
    },
    onRequest: write(formatAnswer(status, location === undefined ? [] : [`location: ${location}`])),
  });
  return [
    ...[301, 302, 303, 307, 308].map((status) =>
      redirect(`redirects with ${status}`, status, `/redirect/${status}`, target),
    ),
    redirect('redirects to itself', 302, '/redirect/loop', '/redirect/loop'),
    redirect('redirects to nowhere', 302, '/redirect/nowhere', undefined),
    redirect('redirects to a file', 302, '/redirect/file', 'file:///etc/passwd'),
  ];
}

/** The most that is read of a `Retry-After` (ms). */
const DAY_MS = 86_400_000;
const formatDate = (offsetMs: number) => new Date(Date.now() + offsetMs).toUTCString();

const WAITS: readonly [
  name: string,
  headers: () => readonly string[],
  retryAfterMs: readonly [number, number] | 'ignored',
][] = [
  ['seconds', () => ['7'], [7_000, 7_000]],
  ['no seconds', () => ['0'], [0, 0]],
  ['seconds within spaces', () => ['  7  '], [7_000, 7_000]],
  ['more seconds than a day has', () => ['999999999'], [DAY_MS, DAY_MS]],
  ['more seconds than a number holds', () => ['9'.repeat(400)], 'ignored'],
  ['seconds below zero', () => ['-7'], 'ignored'],
  ['a part of a second', () => ['1.5'], 'ignored'],
  ['seconds with an exponent', () => ['1e3'], 'ignored'],
  ['seconds in hexadecimal', () => ['0x10'], 'ignored'],
  ['seconds with a unit', () => ['120 seconds'], 'ignored'],
  ['a date', () => [formatDate(30_000)], [20_000, 30_000]],
  ['a date that is past', () => [formatDate(-30_000)], [0, 0]],
  ['a date in a thousand years', () => ['Fri, 31 Dec 3026 23:59:59 GMT'], [DAY_MS, DAY_MS]],
  ['a date that does not exist', () => ['Sat, 99 Nov 2026 12:00:30 GMT'], 'ignored'],
  ['a date without a zone', () => ['Sat, 21 Nov 2026 12:00:30'], 'ignored'],
  ['nothing', () => [''], 'ignored'],
  ['garbage', () => ['soon \u00ff\u00fe'], 'ignored'],
  ['two waits in one header', () => ['1, 2'], 'ignored'],
  ['two waits in two headers', () => ['1', '2'], 'ignored'],
];

/** 503 with a `Retry-After` of each shape, and 429 with a plain one, all on one server. */
export function listWaits(): Behaviour[] {
  const wait = (
    name: string,
    status: number,
    path: string,
    headers: () => readonly string[],
    retryAfterMs: ExpectedAttempt['retryAfterMs'] & {},
  ): Behaviour => ({
    name,
    path,
    expected: {
      outcome: 'retryable',
      contact: 'answered',
      httpStatus: status,
      error: `The endpoint answered ${status}.`,
      retryAfterMs,
    },
    onRequest: (socket) =>
      void socket.write(
        formatAnswer(
          status,
          headers().map((value) => `retry-after: ${value}`),
        ),
        'latin1',
      ),
  });
  return [
    ...WAITS.map(([name, headers, retryAfterMs], index) =>
      wait(`asks to wait: ${name}`, 503, `/wait/${index}`, headers, retryAfterMs),
    ),
    wait('asks to wait: too many requests', 429, '/wait/429', () => ['3'], [3_000, 3_000]),
  ];
}
