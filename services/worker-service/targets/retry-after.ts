/** The longest `Retry-After` that is believed (ms): a day. The backoff caps it further. */
export const RETRY_AFTER_READ_MAX_MS = 86_400_000;

const SECONDS = /^\d{1,15}$/;
// The three forms of an HTTP date (RFC 9110 §5.6.7). `Date.parse` alone would accept almost any text with a number.
const IMF_FIXDATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;
const RFC_850 = /^[A-Z][a-z]+day, \d{2}-[A-Z][a-z]{2}-\d{2} \d{2}:\d{2}:\d{2} GMT$/;
const ASCTIME = /^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}$/;

/**
 * Milliseconds to wait by a `Retry-After` header, as delta-seconds or as an HTTP date; 0 for a date that is past, at
 * most RETRY_AFTER_READ_MAX_MS. Undefined for a header that is absent, repeated or unreadable. `nowMs` is the wall
 * clock.
 */
export function readRetryAfterMs(header: string | readonly string[] | undefined, nowMs: number): number | undefined {
  if (typeof header !== 'string') return undefined;
  const text = header.trim();
  if (SECONDS.test(text)) return Math.min(Number(text) * 1_000, RETRY_AFTER_READ_MAX_MS);
  const at = readHttpDate(text);
  if (at === undefined) return undefined;
  return Math.min(Math.max(at - nowMs, 0), RETRY_AFTER_READ_MAX_MS);
}

function readHttpDate(text: string): number | undefined {
  let at = Number.NaN;
  if (IMF_FIXDATE.test(text) || RFC_850.test(text)) at = Date.parse(text);
  // Without a zone, `Date.parse` would take it for the server's local time.
  else if (ASCTIME.test(text)) at = Date.parse(`${text} GMT`);
  return Number.isNaN(at) ? undefined : at;
}
