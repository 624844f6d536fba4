import { fillPath, SENSIBLE_BODIES, SENSIBLE_QUERIES } from '@punctual/testkit';
import { send } from './api-client.ts';

/** One request, sensible in itself, to one operation of the API. */
export interface RouteRequest {
  name: string;
  method: string;
  path: string;
  body?: unknown;
}

/** A request for every operation that the OpenAPI document names and that needs a key, so that a new one is not forgotten. */
export async function listEveryRoute(apiUrl: string): Promise<RouteRequest[]> {
  const { body } = await send<{ paths: Record<string, Record<string, { security: unknown[] }>> }>(
    `${apiUrl}/v1/openapi.json`,
  );
  return Object.entries(body.paths).flatMap(([path, operations]) =>
    Object.entries(operations).flatMap(([operation, { security }]): RouteRequest[] => {
      // Health and metrics have answers of their own for when something is away.
      if (security.length === 0) return [];
      const name = `${operation.toUpperCase()} ${path}`;
      const hasBody = ['post', 'put', 'patch'].includes(operation);
      return [
        {
          name,
          method: operation.toUpperCase(),
          path: fillPath(path) + (SENSIBLE_QUERIES[name] ?? ''),
          ...(hasBody && { body: SENSIBLE_BODIES[name] ?? {} }),
        },
      ];
    }),
  );
}
