import { request } from 'node:http';
import { createServer as createRawServer, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ANSWER_HEAD_BYTES_MAX, AnswerError, type AnswerHead, AnswerParser } from './answer-parser.ts';

/** What came of an answer: its heads, its body, how it ended and what was left behind it. */
interface Reading {
  heads: AnswerHead[];
  body: string;
  error: string | undefined;
  isDone: boolean;
  rest: string;
}

/** Reads an answer in pieces of these sizes (the last one again and again), then the end of the connection, unless told otherwise. */
function readAnswer(text: string, sizes: readonly number[], method = 'POST', isEnded = true): Reading {
  const bytes = Buffer.from(text, 'latin1');
  const parser = new AnswerParser();
  const heads: AnswerHead[] = [];
  const parts: Buffer[] = [];
  let error: string | undefined;
  let at = 0;
  parser.begin({ onHead: (head) => heads.push(head), onBody: (part) => parts.push(part) }, method);
  try {
    for (let index = 0; at < bytes.length && !parser.isDone; index += 1) {
      const size = sizes[Math.min(index, sizes.length - 1)]!;
      at += parser.read(bytes.subarray(at, at + size));
    }
    if (isEnded) parser.end();
  } catch (caught) {
    if (!(caught instanceof AnswerError)) throw caught;
    error = caught.code;
  }
  const body = Buffer.concat(parts).toString('latin1');
  const rest = error === undefined ? bytes.toString('latin1', at) : '';
  return { heads, body, error, isDone: error === undefined && parser.isDone, rest };
}

const ALL = [1 << 30];
const token = fc
  .string({ unit: fc.constantFrom(...'abcXYZ019-_'), minLength: 1, maxLength: 12 })
  .map((text) => `x-${text}`);
const value = fc.string({ unit: fc.constantFrom(...'ab :;,="\t%é'), maxLength: 20 });
const headerLines = fc
  .array(fc.tuple(token, value), { maxLength: 6 })
  .map((headers) => headers.map(([name, text]) => `${name}:${text}\r\n`).join(''));
const body = fc.string({ unit: fc.constantFrom(...'abc\r\n0\0ÿ'), maxLength: 60 });
const status = fc.oneof(fc.integer({ min: 200, max: 599 }), fc.constantFrom(200, 204, 304, 999));
const early = fc.constantFrom('', '', 'HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n', 'HTTP/1.1 100 Continue\r\n\r\n');
const chunks = fc.array(
  fc.tuple(
    body.filter((text) => text.length > 0),
    fc.constantFrom('', ';a=b', ';c', ';d="\xe9"'),
    fc.boolean(),
  ),
  { maxLength: 5 },
);
const formatChunk = ([data, extension, isUpper]: [string, string, boolean]) => {
  const size = data.length.toString(16);
  return `${isUpper ? size.toUpperCase() : size}${extension}\r\n${data}\r\n`;
};

/** A whole answer, and what it means. */
const goodAnswer = fc
  .record({
    early,
    status,
    reason: fc.constantFrom('', ' ', ' OK', ' Not so well'),
    headers: headerLines,
    framing: fc.oneof(
      body.map((data) => ({ data, head: `content-length: ${data.length}\r\n`, text: data })),
      fc.tuple(chunks, headerLines).map(([parts, trailers]) => ({
        data: parts.map(([data]) => data).join(''),
        head: 'Transfer-Encoding:\tChunked\r\n',
        text: `${parts.map(formatChunk).join('')}0\r\n${trailers}\r\n`,
      })),
    ),
  })
  .map(({ early: first, status: code, reason, headers, framing }) => {
    const isBodyless = code === 204 || code === 304;
    return {
      text: `${first}HTTP/1.1 ${code}${reason}\r\n${headers}${framing.head}\r\n${isBodyless ? '' : framing.text}`,
      status: code,
      data: isBodyless ? '' : framing.data,
    };
  });
const pieces = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 30 });

describe('an answer', () => {
  it('means the same in whatever pieces it comes, and ends where it ends', () => {
    fc.assert(
      fc.property(
        goodAnswer,
        pieces,
        fc.constantFrom('', 'HTTP/1.1 200 OK\r\n\r\n', '\r\n', 'x'),
        (answer, sizes, more) => {
          const reading = readAnswer(answer.text + more, sizes, 'POST', false);
          expect(reading).toMatchObject({ body: answer.data, error: undefined, isDone: true });
          expect(reading.heads.at(-1)!.status).toBe(answer.status);
          const whole = readAnswer(answer.text + more, ALL, 'POST', false);
          expect(whole).toMatchObject({ heads: reading.heads, body: answer.data, isDone: true, rest: more });
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it('that is cut off anywhere is not complete', () => {
    fc.assert(
      fc.property(
        goodAnswer,
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        pieces,
        (answer, share, sizes) => {
          const cut = answer.text.slice(0, Math.floor(answer.text.length * share));
          expect(readAnswer(cut, sizes)).toMatchObject({ error: undefined, isDone: false });
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it('with anything wrong in it is an AnswerError or another answer, the same one in whatever pieces it comes', () => {
    const mutation = fc.tuple(
      fc.nat(1_000),
      fc.nat(3),
      fc.oneof(
        fc.string({ unit: 'binary', maxLength: 4 }),
        fc.constantFrom('\r', '\n', '\r\n', '\0', ':', ' ', '-', 'f'),
      ),
    );
    fc.assert(
      fc.property(
        goodAnswer,
        fc.array(mutation, { minLength: 1, maxLength: 3 }),
        pieces,
        (answer, mutations, sizes) => {
          let { text } = answer;
          for (const [place, length, inserted] of mutations) {
            const at = place % (text.length + 1);
            text = text.slice(0, at) + inserted + text.slice(at + length);
          }
          const whole = readAnswer(text, ALL);
          const inPieces = readAnswer(text, sizes);
          expect([inPieces.error, inPieces.isDone, inPieces.heads]).toEqual([whole.error, whole.isDone, whole.heads]);
          if (whole.isDone) expect(inPieces.body).toBe(whole.body);
        },
      ),
      { numRuns: 5_000 },
    );
  });

  it('to HEAD ends with its head', () => {
    const text = 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n';
    expect(readAnswer(text, ALL, 'HEAD', false)).toMatchObject({ isDone: true, body: '', rest: '' });
  });

  it('without a length, or coded otherwise at last, ends with the connection', () => {
    for (const head of ['', 'transfer-encoding: chunked, gzip\r\n', 'connection: close\r\n']) {
      const text = `HTTP/1.1 200 OK\r\n${head}\r\nabc`;
      expect(readAnswer(text, [1], 'POST', false)).toMatchObject({ isDone: false, body: 'abc' });
      expect(readAnswer(text, [1])).toMatchObject({ isDone: true, body: 'abc' });
    }
  });

  it.each([
    ['two kinds of length', 'HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n', 'INVALID'],
    ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n', 'LENGTH_WRONG'],
    ['a list of lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 3, 3\r\n\r\n', 'INVALID'],
    ['a length with a sign', 'HTTP/1.1 200 OK\r\ncontent-length: +3\r\n\r\n', 'INVALID'],
    ['a length in hex', 'HTTP/1.1 200 OK\r\ncontent-length: 0x3\r\n\r\n', 'INVALID'],
    ['a folded header', 'HTTP/1.1 200 OK\r\nx-a: b\r\n c\r\n\r\n', 'INVALID'],
    ['a space before a colon', 'HTTP/1.1 200 OK\r\ncontent-length : 3\r\n\r\n', 'INVALID'],
    ['a line that ends without CR', 'HTTP/1.1 200 OK\nx-a: b\r\n\r\n', 'INVALID'],
    ['a lone CR in a header', 'HTTP/1.1 200 OK\r\nx-a: b\rc\r\n\r\n', 'INVALID'],
    ['version 2', 'HTTP/2.0 200 OK\r\n\r\n', 'INVALID'],
    ['another protocol to come', 'HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n', 'INVALID'],
    ['a chunk without a size', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\r\n', 'INVALID'],
    [
      'a chunk that is longer than its size',
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n',
      'INVALID',
    ],
    ['a chunk size with a sign', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n+1\r\na\r\n', 'INVALID'],
    ['a chunk line that ends without CR', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\na\r\n', 'INVALID'],
    ['a chunk of terabytes', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n123456789\r\n', 'INVALID'],
    [
      'a trailer without a colon',
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nbroken\r\n\r\n',
      'INVALID',
    ],
    ['a head of 17 KB', `HTTP/1.1 200 OK\r\nx-a: ${'b'.repeat(17_000)}\r\n\r\n`, 'HEAD_TOO_LARGE'],
    [
      'trailers of 17 KB',
      `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-a: ${'b'.repeat(17_000)}\r\n\r\n`,
      'HEAD_TOO_LARGE',
    ],
  ])('with %s is refused', (_what, text, code) => {
    for (const sizes of [ALL, [1], [7]])
      expect(readAnswer(text, sizes, 'POST', false).error).toBe(`PUNCTUAL_ANSWER_${code}`);
  });

  it.each([
    ['HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n', true],
    ['HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n', false],
    ['HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: Keep-Alive, Upgrade\r\n\r\n', true],
    ['HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n', false],
    ['HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n', true],
    ['HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive, close\r\n\r\n', false],
    // A body may follow where there can be none, or where this version has no such body.
    ['HTTP/1.1 204 None\r\ntransfer-encoding: chunked\r\n\r\n', false],
    ['HTTP/1.1 204 None\r\ncontent-length: 3\r\n\r\n', false],
    ['HTTP/1.1 304 Same\r\ntransfer-encoding: chunked\r\n\r\n', false],
    ['HTTP/1.1 304 Same\r\ncontent-length: 3\r\n\r\n', true],
    ['HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n', false],
  ])('%j lets the connection be used again: %s', (text, keepsAlive) => {
    const parser = new AnswerParser();
    parser.begin({ onHead: () => {}, onBody: () => {} }, 'POST');
    parser.read(Buffer.from(text));
    expect([parser.isDone, parser.keepsAlive]).toEqual([true, keepsAlive]);
  });

  it('has no blanks but those of HTTP', () => {
    const begin = 'HTTP/1.1 200 OK\r\n';
    expect(readAnswer(`${begin}content-length:\xa02\r\n\r\nab`, ALL).error).toBe('PUNCTUAL_ANSWER_INVALID');
    expect(readAnswer(`${begin}content-length:\t 2 \t\r\n\r\nab`, ALL)).toMatchObject({ isDone: true, body: 'ab' });
    const coded = `${begin}transfer-encoding: chunked\xa0\r\n\r\n0\r\n\r\n`;
    expect(readAnswer(coded, ALL)).toMatchObject({ body: '0\r\n\r\n' });
  });

  it('is told of another protocol, and of lines that end in LF alone, before its head has ended', () => {
    for (const text of ['SSH-2.0', 'HTTP/1.1 200 OK\ncontent-length: 0\n\n', 'HTTP/2'])
      for (const sizes of [ALL, [1]])
        expect(readAnswer(text, sizes, 'POST', false).error).toBe('PUNCTUAL_ANSWER_INVALID');
  });

  it('takes no longer byte by byte than its bytes do', () => {
    const text = `HTTP/1.1 200 OK\r\n${'a:b\r\n'.repeat(3_000)}\r\n`;
    const measure = (share: number) => {
      const beganAt = performance.now();
      for (let count = 0; count < 8; count += 1) readAnswer(text.slice(0, text.length * share), [1], 'POST', false);
      return performance.now() - beganAt;
    };
    measure(1);
    // Four times as long a head takes four times as long, sixteen times if each byte looked at all before it.
    expect(Math.min(measure(1), measure(1), measure(1))).toBeLessThan(10 * Math.max(measure(0.25), measure(0.25)));
  });

  it('may have spaces behind the size of a chunk', () => {
    const text = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1  \r\na\r\n0000000001 ;b\r\nc\r\n0\r\n\r\n';
    for (const sizes of [ALL, [1]]) expect(readAnswer(text, sizes)).toMatchObject({ isDone: true, body: 'ac' });
  });

  it('may have a head of exactly so much', () => {
    const begin = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-a: ';
    const fill = 'b'.repeat(ANSWER_HEAD_BYTES_MAX - begin.length - 4);
    for (const sizes of [ALL, [1_000]]) {
      expect(readAnswer(`${begin}${fill}\r\n\r\n`, sizes, 'POST', false).isDone).toBe(true);
      expect(readAnswer(`${begin}${fill}b\r\n\r\n`, sizes, 'POST', false).error).toBe('PUNCTUAL_ANSWER_HEAD_TOO_LARGE');
    }
  });
});

describe("beside Node's own client", () => {
  let answer = '';
  const server = createRawServer((socket: Socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end(answer, 'latin1'));
  });
  beforeAll(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)));
  afterAll(() => void server.close());

  const readByNode = () =>
    new Promise<{ status: number; body: string } | undefined>((resolve) => {
      const { port } = server.address() as { port: number };
      const sent = request({ port, method: 'POST', agent: false, insecureHTTPParser: false }, (incoming) => {
        const parts: Buffer[] = [];
        incoming.on('data', (part: Buffer) => parts.push(part));
        incoming.on('error', () => resolve(undefined));
        incoming.on('end', () =>
          resolve({ status: incoming.statusCode!, body: Buffer.concat(parts).toString('latin1') }),
        );
      });
      sent.on('error', () => resolve(undefined));
      sent.end();
    });

  it('an answer means the same', async () => {
    await fc.assert(
      fc.asyncProperty(goodAnswer, async ({ text, status: code, data }) => {
        answer = text;
        expect(await readByNode()).toEqual({ status: code, body: data });
        expect(readAnswer(text, ALL)).toMatchObject({ body: data, isDone: true });
      }),
      { numRuns: 300 },
    );
  });
});
