import { TIMER_STATUSES, type TimerFilter } from '@punctual/contracts';
import type { TimerCondition } from '@punctual/database';
import { type Fault, parseInstant } from '@punctual/domain';
import { refuseFaults } from '../plugins/problems.ts';

type Status = (typeof TIMER_STATUSES)[number];

/** The filter as a list's query string brings it. Labels stand in fields of their own, `label.<key>`. */
export interface FilterQuery {
  status?: string | string[];
  workflowId?: string;
  runId?: string;
  taskKey?: string;
  dueAfter?: string;
  dueBefore?: string;
}

const LABEL_PREFIX = 'label.';

/** Reads the filter of a query string. Throws a 400. */
export function readFilterQuery(tenantId: string, query: FilterQuery): TimerCondition {
  const labels = readLabels(query);
  const statuses = [query.status ?? []].flat().flatMap((text) => text.split(','));
  const unknown = statuses.some((status) => !TIMER_STATUSES.includes(status as Status));
  refuseFaults(
    unknown ? [{ pointer: '/query/status', detail: `It must be one or several of ${TIMER_STATUSES.join(', ')}.` }] : [],
  );
  const { workflowId, runId, taskKey, dueAfter, dueBefore } = query;
  return toCondition(
    tenantId,
    {
      ...(statuses.length > 0 && { status: statuses as Status[] }),
      ...(labels && { labels }),
      ...(workflowId !== undefined && { workflowId }),
      ...(runId !== undefined && { runId }),
      ...(taskKey !== undefined && { taskKey }),
      ...(dueAfter !== undefined && { dueAfter }),
      ...(dueBefore !== undefined && { dueBefore }),
    },
    '/query',
  );
}

/** Turns a filter into a condition of queries. Throws a 400 whose pointers begin with `pointer`. */
export function toCondition(tenantId: string, filter: TimerFilter, pointer: string): TimerCondition {
  const faults: Fault[] = [];
  const readInstant = (name: 'dueAfter' | 'dueBefore') => {
    const text = filter[name];
    if (text === undefined) return undefined;
    const at = parseInstant(text);
    if (at === undefined) faults.push({ pointer: `${pointer}/${name}`, detail: 'It must be an RFC 3339 date-time.' });
    return at;
  };
  const ofFields = readLabels(filter);
  const labels = filter.labels || ofFields ? { ...filter.labels, ...ofFields } : undefined;
  const dueAfter = readInstant('dueAfter');
  const dueBefore = readInstant('dueBefore');
  refuseFaults(faults);
  return {
    tenantId,
    ...(filter.status && { statuses: [filter.status].flat() }),
    ...(filter.workflowId !== undefined && { workflowId: filter.workflowId }),
    ...(filter.runId !== undefined && { runId: filter.runId }),
    ...(filter.taskKey !== undefined && { taskKey: filter.taskKey }),
    ...(labels && { labels: JSON.stringify(labels) }),
    ...(dueAfter !== undefined && { dueAfter }),
    ...(dueBefore !== undefined && { dueBefore }),
  };
}

/** What stands in fields named `label.<key>`. */
function readLabels(fields: object): Record<string, string> | undefined {
  const labels = Object.entries(fields)
    .filter(([name]) => name.startsWith(LABEL_PREFIX))
    .map(([name, value]) => [name.slice(LABEL_PREFIX.length), value as string]);
  return labels.length > 0 ? Object.fromEntries(labels) : undefined;
}
