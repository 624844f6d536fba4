import {
  Id,
  IdParams,
  listOf,
  NEXT_RUNS_DEFAULT,
  NEXT_RUNS_MAX,
  NextRuns,
  Page,
  SCHEDULE_STATUSES,
  Schedule,
} from '@punctual/contracts';
import { asTenant, listSchedules, openOccurrences, readSchedule, readSpec, type ScheduleRow } from '@punctual/database';
import type { Occurrence } from '@punctual/domain';
import { formatInstant } from '@punctual/domain';
import { Type } from 'typebox';
import type { ApiServer } from '../../api-server.ts';
import { type ApiContext, readAnchorAt } from '../../context.ts';
import { readCreatedPage, readStatuses, renderCreatedPage, StatusQuery } from '../../created-list.ts';
import { refuse, withHeaders } from '../../openapi/refusals.ts';
import { sendAnswer } from '../../plugins/idempotency.ts';
import { createScheduleNotFound } from '../../schedules/change-schedule.ts';
import { answerSchedule, renderSchedule } from '../../schedules/render-schedule.ts';

const tags = ['schedules'];
const NOT_FOUND = { 404: ['schedule_not_found'] };

/** `GET /v1/schedules`, `GET /v1/schedules/{id}` and its next occurrences. */
export function registerReadSchedules(app: ApiServer, context: ApiContext): void {
  const read = async (tenantId: string, id: string): Promise<ScheduleRow> => {
    const row = await readSchedule(asTenant(context.database, tenantId).hot, tenantId, id);
    if (!row) throw createScheduleNotFound();
    return row;
  };
  app.get(
    '/v1/schedules',
    {
      schema: {
        tags,
        summary: 'List schedules',
        description: 'In the order (createdAt, id). A page ends early when it exceeds 4 MiB.',
        querystring: Type.Object(
          { ...Page, status: StatusQuery, workflowId: Type.Optional(Id) },
          { additionalProperties: false },
        ),
        response: { 200: listOf(Schedule) },
      },
    },
    async (request, reply) => {
      const { tenantId, query } = request;
      const filter = {
        tenantId,
        status: readStatuses(query.status, SCHEDULE_STATUSES),
        workflowId: query.workflowId?.toLowerCase(),
      };
      const { ordinary } = asTenant(context.database, tenantId);
      const page = await listSchedules(ordinary, filter, readCreatedPage(query));
      return sendAnswer(reply, { status: 200, body: renderCreatedPage(page, renderSchedule) });
    },
  );
  app.get(
    '/v1/schedules/:id',
    {
      schema: {
        tags,
        summary: 'Read a schedule',
        params: IdParams,
        response: { 200: withHeaders(Schedule, 'etag'), ...refuse(NOT_FOUND) },
      },
    },
    async (request, reply) => sendAnswer(reply, answerSchedule(200, await read(request.tenantId, request.params.id))),
  );
  app.get(
    '/v1/schedules/:id/next-runs',
    {
      schema: {
        tags,
        summary: 'Show when a schedule occurs next',
        description: 'As its rule says, whatever its status. Those that are due already are left out.',
        params: IdParams,
        querystring: Type.Object(
          {
            count: Type.Optional(Type.Integer({ minimum: 1, maximum: NEXT_RUNS_MAX, default: NEXT_RUNS_DEFAULT })),
          },
          { additionalProperties: false },
        ),
        response: { 200: NextRuns, ...refuse(NOT_FOUND) },
      },
    },
    async (request) => {
      const { tenantId, params, query } = request;
      return {
        data: listNext(await read(tenantId, params.id), query.count ?? NEXT_RUNS_DEFAULT, readAnchorAt(context)),
      };
    },
  );
}

function listNext(row: ScheduleRow, count: number, now: number) {
  const { rule, timeZone } = readSpec(row);
  const zone = ('timeZone' in rule ? rule.timeZone : undefined) ?? timeZone;
  const occurrences = openOccurrences(row);
  const found: Occurrence[] = [];
  let next = occurrences.next(Math.max(row.handled_at, occurrences.last(row.handled_at, now)?.at ?? 0));
  while (next && found.length < count) {
    found.push(next);
    next = occurrences.next(next.at);
  }
  return found.map(({ at, dueAt }) => ({
    occurrenceAt: formatInstant(at),
    dueAt: formatInstant(dueAt),
    local: Temporal.Instant.fromEpochMilliseconds(dueAt).toZonedDateTimeISO(zone).toString({ timeZoneName: 'never' }),
  }));
}
