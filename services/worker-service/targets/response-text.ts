/** How much of a response's body is kept (bytes of UTF-8). */
export const RESPONSE_BODY_BYTES_MAX = 4_096;

const REPLACEMENT = '\ufffd';
const REPLACEMENT_BYTES = 3;

/**
 * The body as text that Postgres stores: valid UTF-8 of at most RESPONSE_BODY_BYTES_MAX bytes, without NUL, which
 * `text` refuses. Whatever is not UTF-8 becomes U+FFFD; a character cut in two by the limit is left out. Undefined for
 * an empty body. `isCut` says that the body went on after these bytes.
 */
export function readResponseText(bytes: Buffer, isCut: boolean): string | undefined {
  if (bytes.length === 0) return undefined;
  const whole = isCut ? bytes.subarray(0, findLastWholeCharacter(bytes)) : bytes;
  const text = whole.toString('utf8');
  if (!text.includes('\0') && !text.includes(REPLACEMENT)) return text;
  return cutToBytes(text.replaceAll('\0', REPLACEMENT));
}

/** Where to cut so that no character is halved; the end when the last bytes are no UTF-8 anyway. */
function findLastWholeCharacter(bytes: Buffer): number {
  // A character has at most four bytes, so its first one is at most three back from the last.
  for (let back = 1; back <= Math.min(4, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back] ?? 0;
    if ((byte & 0b1100_0000) === 0b1000_0000) continue;
    const length = byte >= 0b1111_0000 ? 4 : byte >= 0b1110_0000 ? 3 : byte >= 0b1100_0000 ? 2 : 1;
    return length > back ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}

/** A replacement takes three bytes where one byte was, so replaced text can have outgrown the limit. */
function cutToBytes(text: string): string {
  if (text.length * REPLACEMENT_BYTES <= RESPONSE_BODY_BYTES_MAX) return text;
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length <= RESPONSE_BODY_BYTES_MAX) return text;
  const cut = bytes.subarray(0, RESPONSE_BODY_BYTES_MAX);
  return cut.toString('utf8', 0, findLastWholeCharacter(cut));
}
