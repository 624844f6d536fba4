import swagger from '@fastify/swagger';
import { VERSION } from '@punctual/runtime';
import type { ApiServer } from '../api-server.ts';

/** Collects the schemas of the routes registered after it and serves them as OpenAPI at `/v1/openapi.json`. */
export async function addOpenApi(app: ApiServer): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Punctual',
        version: VERSION,
        description: 'Holds timers and calls an HTTP endpoint when each is due.',
      },
      components: { securitySchemes: { apiKey: { type: 'http', scheme: 'bearer' } } },
      security: [{ apiKey: [] }],
    },
  });
  // The routes do not change once the server is ready, so neither does the document.
  let document: string | undefined;
  app.get('/v1/openapi.json', { schema: { hide: true } }, async (_request, reply) => {
    document ??= JSON.stringify(app.swagger());
    return reply.header('content-type', 'application/json; charset=utf-8').send(document);
  });
}
