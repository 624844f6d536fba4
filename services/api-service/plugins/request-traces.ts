import { type OpenSpan, readTraceparent, type Tracing } from '@punctual/runtime';
import type { ApiServer } from '../api-server.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Of a request that is traced. */
    span: OpenSpan | undefined;
  }
}

/**
 * A span for each request of a known caller, in the trace that its `traceparent` names. After the keys are checked: who has none
 * can not make us keep or send anything.
 */
export function addRequestTraces(app: ApiServer, tracing: Tracing): void {
  app.decorateRequest('span', undefined);
  app.addHook('onRequest', (request, _reply, done) => {
    const route = request.routeOptions.url ?? 'unknown';
    request.span = tracing.begin(`${request.method} ${route}`, {
      kind: 'server',
      parent: readTraceparent(request.headers.traceparent),
      attributes: {
        'http.request.method': request.method,
        'http.route': route,
        'punctual.request.id': request.id,
        'punctual.tenant.id': request.tenantId,
      },
    });
    done();
  });
  app.addHook('onResponse', (request, reply, done) => {
    const status = reply.statusCode;
    request.span?.end({
      attributes: { 'http.response.status_code': status },
      ...(status >= 500 && { error: `answered ${status}` }),
    });
    done();
  });
}
