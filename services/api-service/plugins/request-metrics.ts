import type { ApiServer } from '../api-server.ts';
import type { ApiMetrics } from '../metrics.ts';

/** Measures each request by route pattern and status class. */
export function addRequestMetrics(app: ApiServer, metrics: Pick<ApiMetrics, 'requestSeconds'>): void {
  // Looking a child up by its labels costs more than observing, and there are few: routes × 5 classes.
  const children = new Map<string, { observe(seconds: number): void }>();
  app.addHook('onResponse', (request, reply, done) => {
    const route = request.routeOptions.url ?? 'unknown';
    const status = `${Math.floor(reply.statusCode / 100)}xx`;
    const key = `${request.method} ${route} ${status}`;
    let child = children.get(key);
    if (!child) {
      child = metrics.requestSeconds.labels({ method: route === 'unknown' ? 'any' : request.method, route, status });
      children.set(key, child);
    }
    child.observe(reply.elapsedTime / 1000);
    done();
  });
}
