// What a request may hold at most. Each bounds a row, a statement or the time that one request can take; the schemas
// and the checks behind them read the same constants.

/** Timers, runs or ids that one batch may carry: as many as one insert takes. */
export const BATCH_ITEMS_MAX = 1000;
/** Items on one page of a list, and how many there are when the client does not say. */
export const PAGE_ITEMS_MAX = 200;
export const PAGE_ITEMS_DEFAULT = 50;
/** Nesting of objects and arrays in a body; deeper values cost stack and help nobody. */
export const JSON_DEPTH_MAX = 32;
/** A payload, an action's body or a run's input as JSON text, in bytes of UTF-8. */
export const PAYLOAD_BYTES_MAX = 65_536;
/** Labels of one timer, workflow or run, and the length of their keys and values. */
export const LABELS_MAX = 32;
export const LABEL_KEY_LENGTH_MAX = 64;
export const LABEL_VALUE_LENGTH_MAX = 256;
/** The client's own name for a timer or run. */
export const EXTERNAL_ID_LENGTH_MAX = 255;
/** Name and value of a header that an action adds; the domain bounds their sum too. */
export const ACTION_HEADER_NAME_LENGTH_MAX = 128;
export const ACTION_HEADER_VALUE_LENGTH_MAX = 4096;
/** Name of a task queue, from which workers of the customer lease: short, as many of them share one announcement. */
export const QUEUE_NAME_LENGTH_MAX = 64;
/** What such a worker calls itself. */
export const WORKER_ID_LENGTH_MAX = 100;
/** Tasks that one request leases: as many as one statement starts. */
export const LEASE_TASKS_MAX = 500;
/** How long a lease lasts without a heartbeat (s): a day is long enough for what a person has to do. */
export const LEASE_SECONDS_MAX = 86_400;
/** How long a request for tasks waits (s): load balancers keep a request for about a minute. */
export const LEASE_WAIT_SECONDS_MAX = 60;
/** What a task gives to those after it, as JSON text, in bytes of UTF-8: as much as an endpoint's answer is read. */
export const OUTPUT_BYTES_MAX = 65_536;
/** What a worker says went wrong (characters). */
export const TASK_ERROR_LENGTH_MAX = 4_096;
/** A lease token: what was leased and by when, and its signature. */
export const LEASE_TOKEN_LENGTH_MAX = 200;
/** Name of a task within its workflow. */
export const TASK_KEY_LENGTH_MAX = 100;
/** Limits that a tenant may be given: more than one install can do. */
export const REQUESTS_PER_SECOND_LIMIT_MAX = 1_000_000;
export const LIVE_TIMERS_LIMIT_MAX = 1_000_000_000;
/** How long what has ended may be kept (days): as long as a timer may wait. */
export const RETENTION_DAYS_MAX = 3_650;
/** Names of workflows, tenants and keys. */
export const NAME_LENGTH_MAX = 200;
/** How long a no-op may pretend to work (ms): the longest time-out. */
export const NOOP_DURATION_MS_MAX = 60_000;
/** A JSON pointer into a task's output. */
export const POINTER_LENGTH_MAX = 500;
/** Instances of one task that a run shows; its timers can be listed page by page. */
export const INSTANCES_SHOWN_MAX = 100;
/** Instances of all tasks together that a run shows, shared equally by those that run once per element. */
export const INSTANCES_OF_RUN_SHOWN_MAX = 1_000;
/** A backoff that grows faster reaches its cap at once anyway. */
export const BACKOFF_FACTOR_MAX = 100;
/** The longest IANA name has 32 characters. */
export const TIME_ZONE_LENGTH_MAX = 64;
/** Longest text of an instant that is still RFC 3339: nanoseconds and an offset. */
export const INSTANT_LENGTH_MAX = 40;
/** An opaque cursor: a time, an id and a check. */
export const CURSOR_LENGTH_MAX = 200;
/** Timers that come back per second after a pause, unless the request says otherwise: a million take a quarter of an hour. */
export const RELEASE_RATE_DEFAULT = 1_000;
export const RELEASE_RATE_MAX = 1_000_000;
/** The slowest rate of them and of bulk operations (per second): one in a quarter of an hour. Slower ones would leave an operation under way for years. */
export const RATE_MIN = 0.001;
/** The highest rate of a lane (per second): more than an installation starts. */
export const LANE_RATE_MAX = 100_000;
/** Of a bulk operation: why it was made, and timers shown as examples. */
export const BULK_REASON_LENGTH_MAX = 500;
export const BULK_SAMPLES_MAX = 10;
/** Years by which a bulk operation may move due times: as long as the longest wait that can be configured. */
export const BULK_SHIFT_MS_MAX = 100 * 366 * 86_400_000;
/** `count` is exact up to here. */
export const COUNT_MAX = 10_000;
/** Columns of one histogram: a week of quarter hours, or two years of days. */
export const HISTOGRAM_BUCKETS_MAX = 1000;
/** Of a schedule: an interval in its unit (ten years of seconds), how far jitter reaches, and how late a missed occurrence may begin. */
export const INTERVAL_VALUE_MAX = 316_000_000;
export const JITTER_MS_MAX = 86_400_000;
export const MISSED_WINDOW_MS_DEFAULT = 3_600_000;
export const MISSED_WINDOW_MS_MAX = 31 * 86_400_000;
/** Occurrences that one request looks ahead, and how many when the client does not say. */
export const NEXT_RUNS_MAX = 100;
export const NEXT_RUNS_DEFAULT = 10;
