/** How an attempt ended. `blocked`: the settings forbid the address, and nothing was sent. */
export type AttemptOutcome = 'succeeded' | 'retryable' | 'permanent' | 'timedOut' | 'blocked';

/**
 * What an attempt tells of its endpoint. `answered`: it gave an answer, be it the worst. `unanswered`: it was tried and
 * gave none. `unknown`: neither can be said, because nothing was tried, or something of ours failed.
 */
export type Contact = 'answered' | 'unanswered' | 'unknown';

/** The longest `error` of an attempt (characters). */
export const ERROR_LENGTH_MAX = 500;

// Answers that say "not now": request timeout, too early, too many requests. Every 5xx is one too.
const RETRYABLE_STATUSES: ReadonlySet<number> = new Set([408, 425, 429]);

/** What the status of an answer means for the timer. Redirects are final: nobody has checked where they lead. */
export function classifyStatus(status: number): 'succeeded' | 'retryable' | 'permanent' {
  if (status >= 200 && status < 300) return 'succeeded';
  if (RETRYABLE_STATUSES.has(status) || (status >= 500 && status < 600)) return 'retryable';
  return 'permanent';
}

/** One short line about an answer that is no success. */
export function describeStatus(status: number): string {
  if (status >= 300 && status < 400) return `The endpoint answered ${status}; redirects are not followed.`;
  return `The endpoint answered ${status}.`;
}

// Codes of the operating system, DNS, TLS and HTTP that mean the same to a customer share a line.
const NETWORK_ERRORS: Readonly<Record<string, string>> = {
  ENOTFOUND: 'The host name does not exist.',
  ENODATA: 'The host name has no address.',
  EAI_AGAIN: 'The host name could not be resolved for now.',
  ETIMEOUT: 'The DNS servers of the host name did not answer.',
  ESERVFAIL: 'The DNS servers of the host name failed.',
  EREFUSED: 'The DNS servers of the host name refused to answer.',
  EBUSY: 'Too many host names are being resolved.',
  ECONNREFUSED: 'The connection was refused.',
  ECONNRESET: 'The connection was closed before the answer was complete.',
  EPIPE: 'The connection was closed before the answer was complete.',
  PUNCTUAL_CONNECTION_CLOSED: 'The connection was closed before the answer was complete.',
  ETIMEDOUT: 'The connection timed out.',
  UND_ERR_CONNECT_TIMEOUT: 'The connection timed out.',
  EHOSTUNREACH: 'The host cannot be reached.',
  ENETUNREACH: 'The host cannot be reached.',
  EADDRNOTAVAIL: 'The host cannot be reached.',
  PUNCTUAL_ANSWER_HEAD_TOO_LARGE: 'The headers of the answer are too large.',
  PUNCTUAL_ANSWER_INVALID: 'The answer is not valid HTTP.',
  PUNCTUAL_ANSWER_LENGTH_WRONG: 'The answer does not have the length it announced.',
  CERT_HAS_EXPIRED: 'The TLS certificate has expired.',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'The TLS certificate is self-signed.',
  SELF_SIGNED_CERT_IN_CHAIN: 'The TLS certificate is self-signed.',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'The TLS certificate cannot be verified.',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'The TLS certificate cannot be verified.',
  ERR_TLS_CERT_ALTNAME_INVALID: 'The TLS certificate is for another host.',
};
// The endpoint said something, though nothing that makes sense.
const ANSWER_ERRORS: ReadonlySet<string> = new Set([
  'PUNCTUAL_ANSWER_INVALID',
  'PUNCTUAL_ANSWER_HEAD_TOO_LARGE',
  'PUNCTUAL_ANSWER_LENGTH_WRONG',
]);
// This process is out of lookups, open files or memory, which is nothing that the endpoint did.
const OWN_ERRORS: ReadonlySet<string> = new Set(['EBUSY', 'EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM']);
// A code is shown only in the shape that codes have, so that no text of a peer or of a library slips through.
const CODE = /^[A-Z][A-Z0-9_]{1,60}$/;

/** What an error instead of an answer means for the timer, and one short line about it without internals. */
export function describeNetworkError(error: unknown): {
  outcome: 'retryable' | 'permanent' | 'blocked';
  error: string;
  contact: Contact;
} {
  const code = readCode(error);
  switch (code) {
    case 'PUNCTUAL_EGRESS_BLOCKED':
      return {
        outcome: 'blocked',
        error: (error as Error).message.slice(0, ERROR_LENGTH_MAX),
        contact: 'unknown',
      };
    // Before anything was sent: the next attempt would fare the same.
    case 'PUNCTUAL_REQUEST_INVALID':
      return { outcome: 'permanent', error: 'The request has an invalid method or header.', contact: 'unknown' };
    default:
  }
  if (code === undefined) return { outcome: 'retryable', error: 'The connection failed.', contact: 'unanswered' };
  const known = Object.hasOwn(NETWORK_ERRORS, code) ? NETWORK_ERRORS[code] : undefined;
  const contact = ANSWER_ERRORS.has(code) ? 'answered' : OWN_ERRORS.has(code) ? 'unknown' : 'unanswered';
  return { outcome: 'retryable', error: known ?? `The connection failed (${code}).`, contact };
}

/** Whether something of ours failed, of which the endpoint must not be told guilty, nor its timers' attempts be counted. */
export function isOwnFault(error: unknown): boolean {
  return OWN_ERRORS.has(readCode(error) ?? '');
}

/** An AggregateError, of all addresses tried, has the code of the first of them. */
function readCode(error: unknown): string | undefined {
  const { code } = Object(error) as { code?: unknown };
  if (typeof code === 'string' && CODE.test(code)) return code;
  return error instanceof AggregateError && error.errors.length > 0 ? readCode(error.errors[0]) : undefined;
}
