import {
  addOpsRoutes,
  addSecurityHeaders,
  answerBareRefusals,
  answerClientError,
  type Health,
  HTTP_SERVER_OPTIONS,
  SECURITY_HEADERS,
} from '@punctual/runtime';
import Fastify from 'fastify';
import type { Registry } from 'prom-client';
import type { ApiServer, SchemaTypes } from './api-server.ts';
import type { ApiContext } from './context.ts';
import { addAnswerDeadline } from './plugins/answer-deadline.ts';
import { addAuth } from './plugins/auth.ts';
import { addBodyRoom } from './plugins/body-room.ts';
import { addJsonBody } from './plugins/json-body.ts';
import { addOpenApi } from './plugins/openapi.ts';
import { addProblems, sendProblem, toProblem } from './plugins/problems.ts';
import { addRequestIdentity, createRequestIds } from './plugins/request-identity.ts';
import { addRequestLimits } from './plugins/request-limits.ts';
import { addRequestMetrics } from './plugins/request-metrics.ts';
import { addRequestTraces } from './plugins/request-traces.ts';
import { addUnknownRoutes } from './plugins/unknown-routes.ts';
import { addValidation } from './plugins/validation.ts';
import { registerRoutes } from './routes/register-routes.ts';

/** Connections that sent nothing for this long are cut (ms). Longer than the keep-alive, which has its own limit. */
const CONNECTION_TIMEOUT_MS = 120_000;
/** Longest path parameter: ids and queue names are much shorter. */
const PARAM_LENGTH_MAX = 256;

/** Builds the server with all routes. It does not listen. */
export async function buildApi(parts: { context: ApiContext; health: Health; registry: Registry }): Promise<ApiServer> {
  const { context } = parts;
  const { config } = context;
  const app: ApiServer = Fastify({
    // A log line a request would cost more than the route.
    logger: false,
    genReqId: createRequestIds(),
    bodyLimit: config.API_BODY_BYTES_MAX,
    requestTimeout: config.API_REQUEST_TIMEOUT_MS,
    connectionTimeout: CONNECTION_TIMEOUT_MS,
    keepAliveTimeout: config.API_KEEP_ALIVE_TIMEOUT_MS,
    // While closing, requests on open connections are still answered, with `connection: close`.
    return503OnClosing: false,
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: PARAM_LENGTH_MAX, ignoreTrailingSlash: true },
    // Bad URLs: no hook sees them.
    frameworkErrors: (error, request, reply) => {
      for (const [name, value] of SECURITY_HEADERS) reply.header(name, value);
      reply.header('x-request-id', request.id);
      sendProblem(reply, request, toProblem(error));
    },
    http: HTTP_SERVER_OPTIONS,
    clientErrorHandler: answerClientError,
  }).withTypeProvider<SchemaTypes>();
  answerBareRefusals(app.server);
  addSecurityHeaders(app as never);
  addRequestIdentity(app);
  addRequestMetrics(app, context.metrics);
  addProblems(app, context);
  addUnknownRoutes(app);
  addJsonBody(app);
  addValidation(app);
  await addOpenApi(app);
  addOpsRoutes(app as never, parts.health, parts.registry);
  await app.register(async (guarded) => {
    const server = guarded.withTypeProvider<SchemaTypes>() as ApiServer;
    addAuth(server, context);
    if (context.tracing) addRequestTraces(server, context.tracing);
    addRequestLimits(server, context);
    addBodyRoom(server, context);
    addAnswerDeadline(server, context);
    registerRoutes(server, context);
  });
  await app.ready();
  return app;
}
