import type { ApiContext } from '../context.ts';
import { TenantBatchers } from '../tenant-batchers.ts';
import type { ItemResult } from './item-results.ts';
import { readTimerText } from './read-timers.ts';

/** One tenant's wish to change or cancel one timer. */
export interface Edit<Request extends { id: string }> {
  tenantId: string;
  request: Request;
}

/** Batches under way at once: one is being read while another is being written. */
const BATCHES_MAX = 2;

/**
 * The way in for single edits: a tenant's concurrent ones share their statements, and one commit. `apply` edits timers of
 * one tenant, each once, and answers in their order.
 */
export function createEditBatcher<Request extends { id: string }>(
  context: ApiContext,
  apply: (tenantId: string, requests: readonly Request[]) => Promise<ItemResult[]>,
): TenantBatchers<Edit<Request>, ItemResult> {
  const { config } = context;
  return new TenantBatchers({
    store: async (edits) => {
      const results = await applyTogether(edits, apply);
      // Each is the only one that its request names, so nothing of it is left out.
      for (const [index, result] of results.entries()) {
        if ('error' in result || !result.isShortened) continue;
        const { tenantId, request } = edits[index]!;
        results[index] = { status: result.status, timer: await readTimerText(context, tenantId, request.id) };
      }
      return results;
    },
    windowMs: config.API_BATCH_WINDOW_MS,
    batchItemsMax: config.API_BATCH_TIMERS_MAX,
    batchesMax: BATCHES_MAX,
    queueMax: config.API_CREATE_QUEUE_MAX,
    waitMsMax: config.API_ANSWER_TIMEOUT_MS,
  });
}

async function applyTogether<Request extends { id: string }>(
  edits: readonly Edit<Request>[],
  apply: (tenantId: string, requests: readonly Request[]) => Promise<ItemResult[]>,
): Promise<ItemResult[]> {
  const results = new Map<Edit<Request>, ItemResult>();
  const applyGroup = async (group: readonly Edit<Request>[]) => {
    const requests = group.map(({ request }) => request);
    for (const [index, result] of (await apply(group[0]!.tenantId, requests)).entries())
      results.set(group[index]!, result);
  };
  await Promise.all(groupEdits(edits).map(applyGroup));
  return edits.map((edit) => results.get(edit)!);
}

/** No group names a timer twice: several edits of one timer race as if each had come alone. */
function groupEdits<Request extends { id: string }>(edits: readonly Edit<Request>[]): Edit<Request>[][] {
  const repeats: Edit<Request>[][] = [];
  const first = new Map<string, Edit<Request>>();
  for (const edit of edits) {
    if (first.has(edit.request.id)) repeats.push([edit]);
    else first.set(edit.request.id, edit);
  }
  return [[...first.values()], ...repeats];
}
