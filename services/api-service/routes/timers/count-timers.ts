import { COUNT_MAX, HISTOGRAM_BUCKETS_MAX, Instant, TimerFilterQuery, WITH_LABELS } from '@punctual/contracts';
import { asTenant, countTimers, readTimerHistogram } from '@punctual/database';
import { formatInstant, LAST_INSTANT_MS } from '@punctual/domain';
import { Type } from 'typebox';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { createInvalidRequest } from '../../plugins/problems.ts';
import { readFilterQuery } from '../../timers/timer-filter.ts';

const Count = Type.Object({ count: Type.Integer(), capped: Type.Optional(Type.Boolean()) });

/** `GET /v1/timers/count`: exact up to 10,000, then capped. */
export function registerCountTimers(app: ApiServer, context: ApiContext): void {
  app.get(
    '/v1/timers/count',
    {
      schema: {
        tags: ['timers'],
        summary: 'Count timers, up to 10,000',
        querystring: Type.Object(TimerFilterQuery, WITH_LABELS),
        response: { 200: Count },
      },
    },
    async (request) => {
      const condition = readFilterQuery(request.tenantId, request.query);
      const { ordinary } = asTenant(context.database, request.tenantId);
      const count = await countTimers(ordinary, condition, COUNT_MAX + 1);
      return count > COUNT_MAX ? { count: COUNT_MAX, capped: true } : { count };
    },
  );
}

const BUCKET_SECONDS: Record<string, number> = { minute: 60, hour: 3_600, day: 86_400 };

const HistogramQuery = Type.Object(
  {
    ...TimerFilterQuery,
    bucket: Type.String({
      pattern: '^(minute|hour|day|[1-9][0-9]{0,7})$',
      description: '`minute`, `hour`, `day` (of UTC) or a number of seconds.',
    }),
  },
  WITH_LABELS,
);

const Histogram = Type.Object({
  bucketSeconds: Type.Integer(),
  buckets: Type.Array(Type.Object({ from: Instant, to: Instant, count: Type.Integer() }), {
    description: 'Without the empty ones; `to` is not included.',
  }),
});

/** `GET /v1/timers/histogram`: how many timers are due when. */
export function registerTimerHistogram(app: ApiServer, context: ApiContext): void {
  app.get(
    '/v1/timers/histogram',
    {
      schema: {
        tags: ['timers'],
        summary: 'Count timers by due time',
        querystring: HistogramQuery,
        response: { 200: Histogram },
      },
    },
    async (request) => {
      const { bucket } = request.query;
      const bucketSeconds = BUCKET_SECONDS[bucket] ?? Number(bucket);
      const bucketMs = bucketSeconds * 1000;
      const condition = readFilterQuery(request.tenantId, request.query);
      const { ordinary } = asTenant(context.database, request.tenantId);
      const buckets = await readTimerHistogram(ordinary, condition, bucketMs, HISTOGRAM_BUCKETS_MAX + 1);
      if (buckets.length > HISTOGRAM_BUCKETS_MAX) {
        const detail = `There are more than ${HISTOGRAM_BUCKETS_MAX} buckets; use larger ones, or dueAfter and dueBefore.`;
        throw createInvalidRequest([{ pointer: '/query/bucket', detail }]);
      }
      return {
        bucketSeconds,
        buckets: buckets.map(({ from, count }) => {
          // What waits for a signal without a time-out is due at the last instant that can be written.
          return { from: formatInstant(from), to: formatInstant(Math.min(from + bucketMs, LAST_INSTANT_MS)), count };
        }),
      };
    },
  );
}
