import { type Static, Type } from 'typebox';
import { BATCH_ITEMS_MAX, LABEL_KEY_LENGTH_MAX, LABEL_VALUE_LENGTH_MAX } from './limits.ts';
import { CLOSED, Id, Instant, Labels, TaskKey } from './primitives.ts';
import { TIMER_STATUSES } from './timer.ts';

/** Seven names and the commas between them. */
const STATUS_LIST_LENGTH_MAX = 100;

/** The filter as a query string: `label.<key>=<value>` for labels, `status` repeated or with commas. */
export const TimerFilterQuery = {
  status: Type.Optional(
    Type.Union([
      Type.String({ maxLength: STATUS_LIST_LENGTH_MAX }),
      Type.Array(Type.String({ maxLength: STATUS_LIST_LENGTH_MAX }), { maxItems: TIMER_STATUSES.length }),
    ]),
  ),
  workflowId: Type.Optional(Id),
  runId: Type.Optional(Id),
  taskKey: Type.Optional(TaskKey),
  dueAfter: Type.Optional(Instant),
  dueBefore: Type.Optional(Instant),
};

/** Options of a query schema that also takes `label.<key>` fields. */
export const WITH_LABELS = {
  ...CLOSED,
  patternProperties: {
    [`^label\\..{1,${LABEL_KEY_LENGTH_MAX}}$`]: { type: 'string', maxLength: LABEL_VALUE_LENGTH_MAX },
  },
};

/**
 * The same filter as JSON, for bodies: labels as `labels`, or as `label.<key>` like in a query. `dueAfter` is included, `dueBefore`
 * is not.
 */
export const TimerFilter = Type.Object(
  {
    status: Type.Optional(
      Type.Union([
        Type.Enum([...TIMER_STATUSES]),
        Type.Array(Type.Enum([...TIMER_STATUSES]), { minItems: 1, maxItems: TIMER_STATUSES.length }),
      ]),
    ),
    workflowId: Type.Optional(Id),
    runId: Type.Optional(Id),
    taskKey: Type.Optional(TaskKey),
    labels: Type.Optional(Labels),
    dueAfter: Type.Optional(Instant),
    dueBefore: Type.Optional(Instant),
  },
  WITH_LABELS,
);
export type TimerFilter = Static<typeof TimerFilter>;

export const RedriveRequest = Type.Object(
  {
    ids: Type.Optional(Type.Array(Id, { minItems: 1, maxItems: BATCH_ITEMS_MAX })),
    filter: Type.Optional(TimerFilter),
  },
  { ...CLOSED, description: 'Either `ids` or `filter`.' },
);
