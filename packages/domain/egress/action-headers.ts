import type { Fault } from '../fault.ts';

/** The most headers that an action may add, and the most that their names and values may measure together (bytes). */
export const ACTION_HEADERS_MAX = 50;
// Common servers read 8 KiB of headers in all; ours and theirs need room too.
export const ACTION_HEADERS_BYTES_MAX = 6_144;

/**
 * Methods that an action may use. CONNECT and TRACE are left out: one asks for a tunnel, the other for an echo of
 * the headers, signature included.
 */
export const ACTION_METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const;
export type ActionMethod = (typeof ACTION_METHODS)[number];

// Set by us on every request; what receivers verify must not be for customers to write.
const OWN_HEADERS = ['idempotency-key', 'user-agent', 'webhook-id', 'webhook-signature', 'webhook-timestamp'];
const OWN_PREFIX = 'punctual-';
// These govern the connection and the framing of the message (RFC 9110 §7.6.1). Setting one could smuggle a second
// request into a connection, or hold it open.
const CONNECTION_HEADERS = [
  'connection',
  'content-length',
  'expect',
  'host',
  'http2-settings',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
];
const CONNECTION_PREFIX = 'proxy-';

const RESERVED_HEADERS: ReadonlySet<string> = new Set([...OWN_HEADERS, ...CONNECTION_HEADERS]);
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
// Printable ASCII, space and tab. HTTP leaves the meaning of other bytes open, so `é` would reach each server as
// something else; it is refused rather than guessed.
const VALUE = /^[\t\x20-\x7e]*$/;

/** Whether a header, named in lower case, is ours or the connection's to set. */
export function isReservedHeader(lowerCaseName: string): boolean {
  return (
    RESERVED_HEADERS.has(lowerCaseName) ||
    lowerCaseName.startsWith(OWN_PREFIX) ||
    lowerCaseName.startsWith(CONNECTION_PREFIX)
  );
}

/**
 * What is wrong with the headers that a customer wants an action to send; empty when nothing is. Pointers are
 * relative to the headers object.
 */
export function validateActionHeaders(headers: Readonly<Record<string, string>>): Fault[] {
  const names = Object.keys(headers);
  if (names.length > ACTION_HEADERS_MAX) {
    return [{ pointer: '', detail: `At most ${ACTION_HEADERS_MAX} headers are allowed.` }];
  }
  const faults: Fault[] = [];
  const seen = new Set<string>();
  let bytes = 0;
  for (const name of names) {
    const value = headers[name] ?? '';
    const lowerCaseName = name.toLowerCase();
    const detail =
      describeFault(lowerCaseName, value) ?? (seen.has(lowerCaseName) ? 'The header is repeated.' : undefined);
    if (detail) faults.push({ pointer: `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`, detail });
    seen.add(lowerCaseName);
    bytes += name.length + value.length;
  }
  if (bytes > ACTION_HEADERS_BYTES_MAX) {
    faults.push({ pointer: '', detail: `The headers are longer than ${ACTION_HEADERS_BYTES_MAX} bytes together.` });
  }
  return faults;
}

function describeFault(lowerCaseName: string, value: string): string | undefined {
  if (!TOKEN.test(lowerCaseName)) return 'The name is not a valid header name.';
  if (isReservedHeader(lowerCaseName)) return 'This header is set by Punctual or by the connection.';
  if (!VALUE.test(value)) return 'The value may hold printable ASCII characters, spaces and tabs only.';
  if (value !== value.trim()) return 'The value begins or ends with a space.';
  return undefined;
}
