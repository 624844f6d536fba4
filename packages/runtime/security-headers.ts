import type { FastifyInstance } from 'fastify';

/**
 * On every answer of every service: they answer programs, so a browser may cache, frame, sniff, embed or run nothing of
 * them. Strict-Transport-Security is missing on purpose: it is for whoever ends TLS, and over plain HTTP it means nothing.
 *
 * Not by @fastify/helmet: it works out a dozen headers anew for each request, most of them for pages with scripts, and
 * does not reach what Node answers before there is a request. These are constants.
 */
export const SECURITY_HEADERS: readonly (readonly [name: string, value: string])[] = [
  ['cache-control', 'no-store'],
  ['content-security-policy', "default-src 'none'; frame-ancestors 'none'"],
  ['cross-origin-resource-policy', 'same-origin'],
  ['referrer-policy', 'no-referrer'],
  ['x-content-type-options', 'nosniff'],
  ['x-frame-options', 'DENY'],
];

/** Puts them on every answer that goes through the server's hooks. */
export function addSecurityHeaders(app: FastifyInstance): void {
  app.addHook('onRequest', (_request, reply, done) => {
    for (const [name, value] of SECURITY_HEADERS) reply.header(name, value);
    done();
  });
}
