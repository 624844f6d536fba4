import { type TSchema, Type } from 'typebox';

const HEALTH_STATUS = Type.Enum(['ok', 'degraded', 'down']);

const Health = Type.Object({
  status: HEALTH_STATUS,
  version: Type.String(),
  uptimeSeconds: Type.Integer(),
  checks: Type.Record(
    Type.String(),
    Type.Object(
      { status: HEALTH_STATUS, detail: Type.Optional(Type.String()) },
      { additionalProperties: true, description: 'What was found, and figures of its own.' },
    ),
  ),
});

const Liveness = Type.Object({
  status: Type.Enum(['ok', 'down']),
  stuck: Type.Array(Type.String(), { description: 'Loops of this process that make no progress.' }),
});

interface OpsSchema {
  tags: string[];
  summary: string;
  security: [];
  response: Record<number, TSchema | object>;
}

const describeOps = (summary: string, response: OpsSchema['response']): OpsSchema => ({
  tags: ['ops'],
  summary,
  // Load balancers and scrapers have no key.
  security: [],
  response,
});

/** What the document says of the routes that every service has, and of its own. */
export const OPS_SCHEMAS: Readonly<Record<string, OpsSchema>> = {
  '/v1/health': describeOps('How the service is', { 200: Health, 503: Health }),
  '/v1/health/live': describeOps("Whether the process' own loops make progress", { 200: Liveness, 503: Liveness }),
  '/v1/health/ready': describeOps('Whether it can serve now', { 200: Health, 503: Health }),
  '/metrics': describeOps('Figures for Prometheus', {
    200: { content: { 'text/plain': { schema: Type.String() } } },
  }),
  '/v1/openapi.json': describeOps('This document', {
    200: Type.Object(
      { openapi: Type.String(), paths: Type.Object({}, { additionalProperties: true }) },
      {
        additionalProperties: true,
      },
    ),
  }),
};
