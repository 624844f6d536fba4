import type { ApiServer } from '../api-server.ts';
import type { ApiContext } from '../context.ts';
import { ProblemError } from '../problem.ts';

/**
 * Answers 429 when a tenant sends more requests per second than it may. Stands behind the authentication. A batch counts
 * its items, once its body is known to be sound. Operators' routes are not counted: by them a limit can be raised again.
 */
export function addRequestLimits(
  app: ApiServer,
  { requestRates, metrics }: Pick<ApiContext, 'requestRates' | 'metrics'>,
): void {
  const judge = (waitMs: number): ProblemError | undefined => {
    if (waitMs === 0) return undefined;
    metrics.requestsLimited.inc({ limit: 'rate' });
    return new ProblemError(429, 'rate_limited', 'The tenant sends more requests per second than it may.', {
      headers: { 'retry-after': String(Math.ceil(waitMs / 1000)) },
    });
  };
  app.addHook('onRequest', (request, _reply, done) => {
    // First of all, and before Fastify has to make an object of the route's options: most tenants have no limit.
    const isCounted = requestRates.isBounded(request.tenantId) && request.routeOptions.config.scope !== 'operator';
    done(isCounted ? judge(requestRates.countRequest(request.tenantId)) : undefined);
  });
  app.addHook('onRoute', (route) => {
    const countItems = route.config?.countItems;
    if (!countItems) return;
    // Of the routes' own: these have no other hooks there.
    route.preHandler = (request, _reply, done) => {
      done(judge(requestRates.countItems(request.tenantId, countItems(request.body))));
    };
  });
}

/** For `countItems` of a route whose body lists its items in `field`; without the field it counts as one. */
export function countItemsOf(field: string): (body: unknown) => number {
  return (body) => (body as Readonly<Record<string, readonly unknown[] | undefined>>)[field]?.length ?? 1;
}
