import {
  Gate,
  listOf,
  NoBody,
  OriginPauseRequest,
  OriginResumeRequest,
  PAGE_ITEMS_DEFAULT,
  Page,
  QueueParams,
  ResumeRequest,
} from '@punctual/contracts';
import { asTenant, type GateKey, listGates } from '@punctual/database';
import { Type } from 'typebox';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import { TOO_MANY_OPERATIONS } from '../../bulk-operations/begin-bulk-operation.ts';
import type { ApiContext } from '../../context.ts';
import { pauseGate, renderGate, resumeGate } from '../../gates/change-gates.ts';
import { decodeGateCursor, encodeGateCursor } from '../../gates/gate-cursor.ts';
import { readManner } from '../../gates/resume-manner.ts';
import { waitUntilHeeded } from '../../gates/wait-until-heeded.ts';
import { refuse } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { createInvalidRequest } from '../../plugins/problems.ts';

const PAUSED = { 200: Gate, ...refuse({ 409: ['too_many_gates'] }) };
const RESUMED = { 200: Gate, ...refuse(TOO_MANY_OPERATIONS) };

/** `POST /v1/task-queues/{queue}/{pause|resume}`, `POST /v1/origins/{pause|resume}` and `GET /v1/gates`. */
export function registerGateRoutes(app: ApiServer, context: ApiContext): void {
  registerQueueGates(app, context);
  registerOriginGates(app, context);
  app.get(
    '/v1/gates',
    {
      schema: {
        tags: ['pauses'],
        summary: 'List what is paused as a whole',
        description: 'Workflows, queues and origins, in the order (kind, name).',
        querystring: Type.Object(Page, { additionalProperties: false }),
        response: { 200: listOf(Gate) },
      },
    },
    async (request) => {
      const { tenantId, query } = request;
      const limit = query.limit ?? PAGE_ITEMS_DEFAULT;
      const { ordinary } = asTenant(context.database, tenantId);
      const gates = await listGates(ordinary, tenantId, decodeGateCursor(query.cursor), limit + 1);
      const page = gates.slice(0, limit);
      const last = page.at(-1);
      return {
        data: page.map((gate) => renderGate(gate, gate)),
        nextCursor: gates.length > limit && last ? encodeGateCursor(last) : null,
      };
    },
  );
}

function registerQueueGates(app: ApiServer, context: ApiContext): void {
  app.post(
    '/v1/task-queues/:queue/pause',
    { schema: { tags: ['pauses'], summary: 'Pause a queue', params: QueueParams, body: NoBody, response: PAUSED } },
    async (request, reply) => {
      const key: GateKey = { tenantId: request.tenantId, kind: 'queue', name: request.params.queue };
      const origin = describeOrigin(request, 'gate.pause', { queue: key.name });
      const answer = await runIdempotently(context, request, async (client) => ({
        status: 200,
        body: await pauseGate(context, client, key, origin),
      }));
      await waitUntilHeeded(context);
      return sendAnswer(reply, answer);
    },
  );
  app.post(
    '/v1/task-queues/:queue/resume',
    {
      schema: {
        tags: ['pauses'],
        summary: 'Resume a queue',
        params: QueueParams,
        body: ResumeRequest,
        response: RESUMED,
      },
    },
    async (request, reply) => {
      const key: GateKey = { tenantId: request.tenantId, kind: 'queue', name: request.params.queue };
      const origin = describeOrigin(request, 'gate.resume', { queue: key.name });
      const answer = await runIdempotently(context, request, async (client) => ({
        status: 200,
        body: await resumeGate(context, client, key, readManner(request.body), origin),
      }));
      return sendAnswer(reply, answer);
    },
  );
}

function registerOriginGates(app: ApiServer, context: ApiContext): void {
  app.post(
    '/v1/origins/pause',
    { schema: { tags: ['pauses'], summary: 'Pause an origin', body: OriginPauseRequest, response: PAUSED } },
    async (request, reply) => {
      const key: GateKey = { tenantId: request.tenantId, kind: 'origin', name: readOrigin(request.body.origin) };
      const origin = describeOrigin(request, 'gate.pause', { origin: key.name });
      const answer = await runIdempotently(context, request, async (client) => ({
        status: 200,
        body: await pauseGate(context, client, key, origin),
      }));
      await waitUntilHeeded(context);
      return sendAnswer(reply, answer);
    },
  );
  app.post(
    '/v1/origins/resume',
    { schema: { tags: ['pauses'], summary: 'Resume an origin', body: OriginResumeRequest, response: RESUMED } },
    async (request, reply) => {
      const { origin: url, ...manner } = request.body;
      const key: GateKey = { tenantId: request.tenantId, kind: 'origin', name: readOrigin(url) };
      const origin = describeOrigin(request, 'gate.resume', { origin: key.name });
      const answer = await runIdempotently(context, request, async (client) => ({
        status: 200,
        body: await resumeGate(context, client, key, readManner(manner), origin),
      }));
      return sendAnswer(reply, answer);
    },
  );
}

/** As workers name it: scheme, host and port, in the spelling of URLs. Throws a 400. */
export function readOrigin(text: string, pointer = '/origin'): string {
  const url = URL.parse(text);
  if (url && (url.protocol === 'http:' || url.protocol === 'https:') && url.username === '' && url.password === '')
    return url.origin;
  throw createInvalidRequest([
    { pointer, detail: 'It must be an http or https URL without a user, such as https://example.com.' },
  ]);
}
