import {
  IdParams,
  Timer,
  TimerBatchAnswer,
  TimerBatchChange,
  TimerBatchRequest,
  TimerChange,
} from '@punctual/contracts';
import type { ChangeOrigin } from '@punctual/database';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { createInvalidRequest } from '../../plugins/problems.ts';
import { countItemsOf } from '../../plugins/request-limits.ts';
import { compileCheck } from '../../plugins/validation.ts';
import { applyChanges, type ChangeRequest } from '../../timers/change-timers.ts';
import { createEditBatcher } from '../../timers/edit-batcher.ts';
import { createBatchAnswer, createSingleAnswer, type ItemResult } from '../../timers/item-results.ts';
import { parseIfMatch } from '../../workflows/etag.ts';

/** `PATCH /v1/timers/{id}`: 200 with the version raised by one, or 409 when it is too late. */
export function registerChangeTimer(app: ApiServer, context: ApiContext): void {
  const batcher = createEditBatcher<ChangeRequest>(context, (tenantId, requests) =>
    applyChanges(context, tenantId, requests),
  );
  app.patch(
    '/v1/timers/:id',
    {
      config: { hasIfMatch: true },
      schema: {
        tags: ['timers'],
        summary: 'Change a timer that has not started',
        params: IdParams,
        body: TimerChange,
        response: {
          200: Timer,
          ...refuse({ 404: ['not_found'], 409: ['timer_already_started', 'timer_finished', 'timer_changing'] }),
        },
      },
    },
    async (request, reply) => {
      const { tenantId, headers } = request;
      const ifMatch = headers['if-match'];
      const change: ChangeRequest = {
        id: request.params.id,
        change: request.body,
        origin: describeOrigin(request, 'timer.change', listFields(request.body)),
        ...(ifMatch !== undefined && { matches: parseIfMatch(ifMatch) }),
      };
      const answer = await runIdempotently(context, request, async (client) => {
        // What has an idempotency key has a transaction of its own.
        const result = client
          ? (await applyChanges(context, tenantId, [change], client))[0]!
          : await batcher.write({ tenantId, request: change });
        return createSingleAnswer(result);
      });
      return sendAnswer(reply, answer);
    },
  );
}

/** What the audit log tells of a change: which fields, not what they hold. */
function listFields(change: TimerChange): { fields: string[] } {
  return {
    fields: Object.keys(change)
      .filter((field) => field !== 'version')
      .toSorted(),
  };
}

const checkItem = compileCheck(TimerBatchChange);

/** `PATCH /v1/timers/batch`: each change by itself, 207. */
export function registerChangeTimers(app: ApiServer, context: ApiContext): void {
  app.patch(
    '/v1/timers/batch',
    {
      bodyLimit: context.config.API_BATCH_BODY_BYTES_MAX,
      config: { countItems: countItemsOf('timers') },
      schema: {
        tags: ['timers'],
        summary: 'Change up to 1000 timers, each by itself',
        body: TimerBatchRequest,
        response: { 207: TimerBatchAnswer },
      },
    },
    async (request, reply) => {
      const { requests, refused } = readItems(request.body.timers, describeOrigin(request, 'timers.batch.change'));
      const answer = await runIdempotently(context, request, async (client) => {
        const applied = await applyChanges(context, request.tenantId, [...requests.values()], client);
        const results = new Map([...requests.keys()].map((index, position) => [index, applied[position]!]));
        const all = request.body.timers.map((_, index) =>
          placeInBody(refused.get(index) ?? results.get(index)!, index),
        );
        return createBatchAnswer(all, request.id);
      });
      return sendAnswer(reply, answer);
    },
  );
}

/** The items by their index, and what is wrong with those that make no sense. */
function readItems(items: readonly unknown[], origin: ChangeOrigin) {
  const requests = new Map<number, ChangeRequest>();
  const refused = new Map<number, ItemResult>();
  const seen = new Set<string>();
  for (const [index, item] of items.entries()) {
    const fault = checkItem(item);
    if (fault) {
      refused.set(index, { error: createInvalidRequest([fault]) });
      continue;
    }
    const { id, ...change } = item as TimerBatchChange;
    if (Object.keys(change).length === 0) {
      refused.set(index, { error: createInvalidRequest([{ pointer: '', detail: 'It names nothing to do.' }]) });
      continue;
    }
    if (seen.has(id)) {
      refused.set(index, {
        error: createInvalidRequest([{ pointer: '/id', detail: 'The batch names this timer twice.' }]),
      });
      continue;
    }
    seen.add(id);
    requests.set(index, { id, change, origin });
  }
  return { requests, refused };
}

/** Faults of an item point into the body of the batch. */
function placeInBody(result: ItemResult, index: number): ItemResult {
  if (!('error' in result) || !result.error.errors) return result;
  const faults = result.error.errors.map((fault) => ({ ...fault, pointer: `/timers/${index}${fault.pointer}` }));
  return { error: createInvalidRequest(faults) };
}
