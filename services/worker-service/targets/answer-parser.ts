/** The largest head of an answer, and the largest trailers (bytes): what Node's own server and client allow. */
export const ANSWER_HEAD_BYTES_MAX = 16_384;

/** What of an answer's head anybody asks for. */
export interface AnswerHead {
  /** 100 to 999. Below 200 the answer is yet to come. */
  status: number;
  /** Bytes of the body, where they are announced. */
  contentLength: number | undefined;
  /** Undefined when it is absent, and when it stands there twice. */
  retryAfter: string | undefined;
}

/** What an answer is told to as it is read. */
export interface AnswerReader {
  onHead(head: AnswerHead): void;
  /** A part of the body; good during the call only, since the next read writes over it. */
  onBody(bytes: Buffer): void;
}

/** The endpoint said something that is no answer. */
export class AnswerError extends Error {
  readonly code: 'PUNCTUAL_ANSWER_INVALID' | 'PUNCTUAL_ANSWER_HEAD_TOO_LARGE' | 'PUNCTUAL_ANSWER_LENGTH_WRONG';
  readonly isRetryable = true;

  constructor(code: AnswerError['code'], message: string) {
    super(message);
    this.name = 'AnswerError';
    this.code = code;
  }
}

/** As they are found in a head in lower case. */
const CONTENT_LENGTH = '\r\ncontent-length:';
const TRANSFER_ENCODING = '\r\ntransfer-encoding:';
const RETRY_AFTER = '\r\nretry-after:';
const CONNECTION = '\r\nconnection:';
const KEEP_ALIVE = '\r\nkeep-alive:';

const LINE_END = '\r\n';
const LINE_END_BYTES = Buffer.from(LINE_END);
const HEAD_END = Buffer.from('\r\n\r\n');
const HEAD_BEGIN = 'HTTP/1.';
/** Status line and header lines by RFC 9112, each with its line end; folded lines, which it deprecates, are refused. */
const STATUS_LINE = String.raw`HTTP/1\.[01] [1-9]\d\d(?: [\t\x20-\x7e\x80-\xff]*)?\r\n`;
const HEADER_LINES = String.raw`(?:[!#$%&'*+\-.^_\x60|~\w]+:[\t\x20-\x7e\x80-\xff]*\r\n)*`;
const HEAD = new RegExp(`^${STATUS_LINE}${HEADER_LINES}$`);
const TRAILERS = new RegExp(`^${HEADER_LINES}$`);
const STATUS_AT = 'HTTP/1.1 '.length;
const MINOR_VERSION_AT = 'HTTP/1.'.length;
/** More digits are no length that a body can have. */
const CONTENT_LENGTH_DIGITS_MAX = 15;
/** Of the size of a chunk, zeros before it included; and the largest size (bytes). */
const CHUNK_DIGITS_MAX = 16;
const CHUNK_BYTES_MAX = 2 ** 32 - 1;
const CR = 13;
const LF = 10;
/** First size of what is held of a head (bytes). */
const HELD_BYTES_MIN = 1_024;

const invalid = (what: string) => new AnswerError('PUNCTUAL_ANSWER_INVALID', what);

type Part = 'head' | 'length' | 'untilClose' | 'chunkSize' | 'extension' | 'chunk' | 'chunkEnd' | 'trailers' | 'end';

/**
 * Reads one answer of HTTP/1.1 or 1.0 after the other, in whatever pieces it comes: RFC 9112, in its strict reading only, since
 * whoever is lenient with an endpoint's framing takes the end of one answer for the beginning of the next. It holds at most
 * ANSWER_HEAD_BYTES_MAX, never looks at a byte of a body, and its work grows with the bytes it is given.
 */
export class AnswerParser {
  #reader: AnswerReader | undefined;
  /** An answer to HEAD has no body, whatever its head says. */
  #isHead = false;
  #part: Part = 'end';
  /** Of a head, trailers or a line of which the end has not come. */
  #held: Buffer | undefined;
  #heldBytes = 0;
  /** Of the body, or of the chunk. */
  #left = 0;
  #digits = 0;
  #keepsAlive = false;
  #keepAliveSeconds: number | undefined;

  /** Before each answer. */
  begin(reader: AnswerReader, method: string): void {
    this.#reader = reader;
    this.#isHead = method === 'HEAD';
    this.#part = 'head';
    this.#heldBytes = 0;
  }

  /** The answer is complete. */
  get isDone(): boolean {
    return this.#part === 'end';
  }

  /** No more of it is wanted. */
  stop(): void {
    this.#part = 'end';
  }

  /** Whether the server lets the connection be used again after the answer. */
  get keepsAlive(): boolean {
    return this.#keepsAlive;
  }

  /** How long it promises to keep it then (s). */
  get keepAliveSeconds(): number | undefined {
    return this.#keepAliveSeconds;
  }

  /** Returns how many of these bytes are of this answer: all of them until it is complete. Throws AnswerError. */
  read(bytes: Buffer): number {
    let at = 0;
    while (at < bytes.length && this.#part !== 'end') at = this.#readPart(bytes, at);
    return at;
  }

  /** The connection has ended. Returns whether the answer is complete by that. */
  end(): boolean {
    if (this.#part === 'untilClose') this.#part = 'end';
    return this.#part === 'end';
  }

  #readPart(bytes: Buffer, at: number): number {
    switch (this.#part) {
      case 'head':
        return this.#readHead(bytes, at);
      case 'length':
      case 'chunk':
        return this.#readBody(bytes, at);
      case 'untilClose':
        this.#reader!.onBody(at === 0 ? bytes : bytes.subarray(at));
        return bytes.length;
      case 'chunkSize':
        return this.#readChunkSize(bytes, at);
      case 'extension':
        return this.#skipExtension(bytes, at);
      case 'chunkEnd':
        return this.#readChunkEnd(bytes, at);
      case 'trailers':
        return this.#readTrailers(bytes, at);
      case 'end':
        return at;
    }
  }

  #readHead(bytes: Buffer, at: number): number {
    const { text, next } = this.#takeLines(bytes, at);
    if (text === undefined) {
      this.#checkBegunHead();
      return next;
    }
    if (!HEAD.test(text)) throw invalid('The head of the answer is malformed.');
    this.#beginBody(text);
    return next;
  }

  // Returns the lines up to the empty one, or none and keeps what has come of them.
  #takeLines(bytes: Buffer, at: number): { text: string | undefined; next: number } {
    if (this.#heldBytes === 0) {
      const end = bytes.indexOf(HEAD_END, at);
      if (end >= 0 && end + HEAD_END.length - at <= ANSWER_HEAD_BYTES_MAX) {
        return { text: bytes.toString('latin1', at, end + LINE_END.length), next: end + HEAD_END.length };
      }
    }
    const before = this.#heldBytes;
    this.#hold(bytes.subarray(at, at + ANSWER_HEAD_BYTES_MAX - before));
    const held = this.#held!.subarray(0, this.#heldBytes);
    const end = held.indexOf(HEAD_END, Math.max(0, before - HEAD_END.length));
    if (end >= 0) {
      this.#held = undefined;
      this.#heldBytes = 0;
      return { text: held.toString('latin1', 0, end + LINE_END.length), next: at + end + HEAD_END.length - before };
    }
    if (before + bytes.length - at > ANSWER_HEAD_BYTES_MAX) {
      throw new AnswerError('PUNCTUAL_ANSWER_HEAD_TOO_LARGE', 'The headers of the answer are too large.');
    }
    checkLineEnds(held, before);
    return { text: undefined, next: bytes.length };
  }

  #hold(bytes: Buffer): void {
    const needed = this.#heldBytes + bytes.length;
    if (this.#held === undefined || this.#held.length < needed) {
      const larger = Buffer.allocUnsafe(Math.max(HELD_BYTES_MIN, 2 * needed));
      this.#held?.copy(larger, 0, 0, this.#heldBytes);
      this.#held = larger;
    }
    bytes.copy(this.#held, this.#heldBytes);
    this.#heldBytes = needed;
  }

  // Tells of another protocol without waiting for the end of a head that may never come.
  #checkBegunHead(): void {
    const begun = this.#held!.toString('latin1', 0, Math.min(this.#heldBytes, HEAD_BEGIN.length));
    if (!HEAD_BEGIN.startsWith(begun)) throw invalid('The answer is not of HTTP/1.');
  }

  #beginBody(text: string): void {
    const status = Number(text.slice(STATUS_AT, STATUS_AT + 3));
    if (status === 101) throw invalid('The endpoint changed to another protocol.');
    const lower = text.toLowerCase();
    const contentLength = readContentLength(text, lower);
    const encoding = readHeaders(text, lower, TRANSFER_ENCODING);
    if (status < 200) {
      this.#reader!.onHead({ status, contentLength: undefined, retryAfter: undefined });
      return;
    }
    if (encoding.length > 0 && contentLength !== undefined) throw invalid('The answer has two kinds of length.');
    this.#readPersistence(lower);
    // Whoever announces a body where there can be none may send one all the same.
    const isBodyTold = encoding.length > 0 || (status === 204 && contentLength !== undefined && contentLength > 0);
    if (isBodyTold && (lower[MINOR_VERSION_AT] === '0' || status === 204 || status === 304)) this.#keepsAlive = false;
    if (this.#isHead || status === 204 || status === 304) this.#part = 'end';
    else if (encoding.length > 0) this.#part = chooseEncoding(encoding);
    else if (contentLength === undefined) this.#part = 'untilClose';
    else this.#part = contentLength === 0 ? 'end' : 'length';
    this.#left = contentLength ?? 0;
    this.#digits = 0;
    const retryAfter = readHeaders(text, lower, RETRY_AFTER);
    this.#reader!.onHead({ status, contentLength, retryAfter: retryAfter.length === 1 ? retryAfter[0] : undefined });
  }

  #readPersistence(lower: string): void {
    const connection = readHeaders(lower, lower, CONNECTION).join();
    const isKept = lower[MINOR_VERSION_AT] === '1' || connection.includes('keep-alive');
    this.#keepsAlive = isKept && !connection.includes('close');
    const seconds = /timeout=(\d{1,9})/.exec(readHeaders(lower, lower, KEEP_ALIVE).join())?.[1];
    this.#keepAliveSeconds = seconds === undefined ? undefined : Number(seconds);
  }

  #readBody(bytes: Buffer, at: number): number {
    const end = Math.min(bytes.length, at + this.#left);
    this.#left -= end - at;
    if (this.#left === 0) this.#part = this.#part === 'chunk' ? 'chunkEnd' : 'end';
    this.#reader!.onBody(bytes.subarray(at, end));
    return end;
  }

  #readChunkSize(bytes: Buffer, at: number): number {
    for (let next = at; next < bytes.length; next += 1) {
      const digit = readHexDigit(bytes[next]!);
      if (digit < 0) {
        if (this.#digits === 0) throw invalid('A chunk has no size.');
        this.#part = 'extension';
        return next;
      }
      this.#digits += 1;
      this.#left = this.#left * 16 + digit;
      if (this.#digits > CHUNK_DIGITS_MAX || this.#left > CHUNK_BYTES_MAX) throw invalid('A chunk is too large.');
    }
    return bytes.length;
  }

  // What may stand behind the size of a chunk means nothing here. The end of its line is CR and LF, and neither stands alone.
  #skipExtension(bytes: Buffer, at: number): number {
    for (let next = at; next < bytes.length; next += 1) {
      const byte = bytes[next]!;
      const isAfterCr = this.#digits < 0;
      if (isAfterCr !== (byte === LF)) throw invalid('The line of a chunk is malformed.');
      if (isAfterCr) {
        this.#part = this.#left === 0 ? 'trailers' : 'chunk';
        return next + 1;
      }
      if (byte === CR) this.#digits = -1;
      else if (this.#digits > 0) {
        if (byte !== 0x3b && byte !== 0x20 && byte !== 0x09) throw invalid('The size of a chunk is malformed.');
        this.#digits = 0;
      }
    }
    return bytes.length;
  }

  #readChunkEnd(bytes: Buffer, at: number): number {
    // `#left` counts the two bytes up.
    for (let next = at; next < bytes.length; next += 1) {
      if (bytes[next] !== (this.#left === 0 ? CR : LF)) throw invalid('A chunk does not end where it should.');
      this.#left += 1;
      if (this.#left === 2) {
        this.#left = 0;
        this.#digits = 0;
        this.#part = 'chunkSize';
        return next + 1;
      }
    }
    return bytes.length;
  }

  // Their lines begin behind that of the last chunk, and may be none: then the empty line is all there is.
  #readTrailers(bytes: Buffer, at: number): number {
    if (this.#heldBytes === 0) this.#hold(LINE_END_BYTES);
    const { text, next } = this.#takeLines(bytes, at);
    if (text === undefined) return next;
    if (!TRAILERS.test(text.slice(LINE_END.length))) throw invalid('The trailers of the answer are malformed.');
    this.#part = 'end';
    return next;
  }
}

/** Whoever ends lines with LF alone would never come to the end of the head. `from`: what has been looked at already. */
function checkLineEnds(held: Buffer, from: number): void {
  for (let at = held.indexOf(LF, from); at >= 0; at = held.indexOf(LF, at + 1)) {
    if (held[at - 1] !== CR) throw invalid('A line of the head ends without CR.');
  }
}

/** The values of a header, in order. `lower`: the head in lower case, in which `mark` begins its lines. */
function readHeaders(head: string, lower: string, mark: string): string[] {
  const values: string[] = [];
  for (let at = lower.indexOf(mark); at >= 0; at = lower.indexOf(mark, at + mark.length)) {
    const from = at + mark.length;
    values.push(trimBlanks(head.slice(from, head.indexOf(LINE_END, from))));
  }
  return values;
}

function readContentLength(head: string, lower: string): number | undefined {
  const values = readHeaders(head, lower, CONTENT_LENGTH);
  const [first] = values;
  if (first === undefined) return undefined;
  for (const value of values) if (!/^\d+$/.test(value)) throw invalid('The length of the answer is no number.');
  if (values.length > 1 || first.length > CONTENT_LENGTH_DIGITS_MAX) {
    throw new AnswerError('PUNCTUAL_ANSWER_LENGTH_WRONG', 'The answer has no length that it can have.');
  }
  return Number(first);
}

// By RFC 9112 §6.3 a body whose last coding is not chunked ends with the connection.
function chooseEncoding(values: readonly string[]): 'chunkSize' | 'untilClose' {
  const codings = values.join().toLowerCase().split(',');
  return trimBlanks(codings.at(-1)!) === 'chunked' ? 'chunkSize' : 'untilClose';
}

/** Blanks of HTTP only: what JavaScript takes for blank as well may mean something to whoever reads it next. */
function trimBlanks(text: string): string {
  let [from, to] = [0, text.length];
  while (from < to && (text[from] === ' ' || text[from] === '\t')) from += 1;
  while (to > from && (text[to - 1] === ' ' || text[to - 1] === '\t')) to -= 1;
  return text.slice(from, to);
}

function readHexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : -1;
}
