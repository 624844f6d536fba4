import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import type { Registry } from 'prom-client';
import { answerBareRefusals, answerClientError, HTTP_SERVER_OPTIONS } from './client-errors.ts';
import { Health } from './health.ts';
import { createMetrics } from './metrics.ts';
import { addSecurityHeaders, SECURITY_HEADERS } from './security-headers.ts';

/**
 * Adds `/v1/health`, `/v1/health/live`, `/v1/health/ready` and `/metrics` to a server. They need no API key and
 * answer 503 where the answer is no.
 */
export function addOpsRoutes(app: FastifyInstance, health: Health, metrics: Registry): void {
  app.get('/v1/health', async (_request, reply) => {
    const report = await health.report();
    return reply.code(report.status === 'down' ? 503 : 200).send(report);
  });
  app.get('/v1/health/live', async (_request, reply) => {
    const { isLive, stuck } = health.live();
    return reply.code(isLive ? 200 : 503).send({ status: isLive ? 'ok' : 'down', stuck });
  });
  app.get('/v1/health/ready', async (_request, reply) => {
    const { isReady, report } = await health.ready();
    return reply.code(isReady ? 200 : 503).send({ ...report, status: isReady ? report.status : 'down' });
  });
  app.get('/metrics', async (_request, reply) => {
    return reply.header('content-type', metrics.contentType).send(await metrics.metrics());
  });
}

/**
 * A server with nothing but these routes, for services that have no other door. Listens at once; rejects when the
 * port is taken.
 */
export async function startOpsServer(options: {
  host: string;
  port: number;
  health: Health;
  metrics: Registry;
}): Promise<{ port: number; close(): Promise<void> }> {
  const app = Fastify({
    logger: false,
    requestTimeout: 10_000,
    forceCloseConnections: true,
    http: HTTP_SERVER_OPTIONS,
    clientErrorHandler: answerClientError,
    // Bad URLs: no hook sees them.
    frameworkErrors: (_error, _request, reply: FastifyReply) => {
      for (const [name, value] of SECURITY_HEADERS) reply.header(name, value);
      reply.code(400).send({ status: 'bad_request' });
    },
  });
  answerBareRefusals(app.server);
  addSecurityHeaders(app);
  // Fastify's own answers repeat what was asked for.
  app.setNotFoundHandler((_request, reply) => reply.code(404).send({ status: 'not_found' }));
  app.setErrorHandler((error, _request, reply) => {
    const { statusCode = 500 } = error as { statusCode?: number };
    return reply.code(statusCode).send({ status: statusCode < 500 ? 'bad_request' : 'error' });
  });
  addOpsRoutes(app, options.health, options.metrics);
  await app.listen({ host: options.host, port: options.port });
  const address = app.server.address();
  return {
    port: typeof address === 'object' && address ? address.port : options.port,
    close: () => app.close(),
  };
}

/** Where a service shows its health and its metrics. */
export interface Ops {
  health: Health;
  registry: Registry;
  /** Undefined where another service's server shows them. */
  port: number | undefined;
  close(): Promise<void>;
}

/**
 * Gives a service its ops surface: that of the process which hosts it together with others (`shared`), or a health and
 * a registry of its own, to be served by `listen` once its checks are added.
 */
export function openOps(
  serviceName: string,
  version: string,
  address: { host: string; port: number },
  shared: { health: Health; registry: Registry } | undefined,
): { health: Health; registry: Registry; listen(): Promise<Ops> } {
  if (shared) {
    const { health, registry } = shared;
    return { health, registry, listen: async () => ({ health, registry, port: undefined, close: async () => {} }) };
  }
  const health = new Health(version);
  const registry = createMetrics(serviceName);
  return {
    health,
    registry,
    async listen() {
      const server = await startOpsServer({ ...address, health, metrics: registry });
      return { health, registry, ...server };
    },
  };
}
