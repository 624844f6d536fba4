import { send } from './api-client.ts';

/** One request, sensible in itself, to one operation of the API. */
export interface RouteRequest {
  name: string;
  method: string;
  path: string;
  body?: unknown;
}

const ID = '01990000-0000-7000-8000-000000000000';
const ACTION = { type: 'noop' };
const WORKFLOW = { name: 'w', tasks: [{ key: 'a', action: ACTION }] };

/** What operations with a body are sent; `{}` is enough for the others. */
const BODIES: Readonly<Record<string, unknown>> = {
  'POST /v1/timers': { action: ACTION },
  'POST /v1/timers/batch': { timers: [{ action: ACTION }] },
  'PATCH /v1/timers/batch': { timers: [{ id: ID, payload: 1 }] },
  'POST /v1/timers/batch/cancel': { ids: [ID] },
  'PATCH /v1/timers/{id}': { payload: 1 },
  'POST /v1/dead-letters/redrive': { ids: [ID] },
  'POST /v1/workflows': WORKFLOW,
  'PUT /v1/workflows/{id}': WORKFLOW,
  'POST /v1/workflows/{id}/tasks': { key: 'b', action: ACTION },
  'POST /v1/runs': { workflowId: ID },
  'POST /v1/runs/batch': { workflowId: ID, runs: [{}] },
  'POST /v1/tenants': { name: 't' },
  'POST /v1/tenants/{id}/signing-secrets': { overlapSeconds: 0 },
  'POST /v1/api-keys': { name: 'k', scope: 'read' },
  'POST /v1/delays/preview': { delay: { type: 'duration', value: 1, unit: 'seconds' } },
};
const QUERIES: Readonly<Record<string, string>> = { 'GET /v1/timers/histogram': '?bucket=hour' };

/** A request for every operation that the OpenAPI document names, so that a new one is not forgotten. */
export async function listEveryRoute(apiUrl: string): Promise<RouteRequest[]> {
  const { body } = await send<{ paths: Record<string, Record<string, unknown>> }>(`${apiUrl}/v1/openapi.json`);
  return Object.entries(body.paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((operation): RouteRequest => {
      const name = `${operation.toUpperCase()} ${path}`;
      const hasBody = ['post', 'put', 'patch'].includes(operation);
      return {
        name,
        method: operation.toUpperCase(),
        path: path.replace(/\{\w+\}/g, ID) + (QUERIES[name] ?? ''),
        ...(hasBody && { body: BODIES[name] ?? {} }),
      };
    }),
  );
}
