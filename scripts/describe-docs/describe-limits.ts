// The limits that the code lays down and no setting moves, with the numbers that the code has.
import {
  BATCH_ITEMS_MAX,
  COUNT_MAX,
  EXTERNAL_ID_LENGTH_MAX,
  HISTOGRAM_BUCKETS_MAX,
  JSON_DEPTH_MAX,
  LABEL_KEY_LENGTH_MAX,
  LABEL_VALUE_LENGTH_MAX,
  LABELS_MAX,
  LIVE_TIMERS_LIMIT_MAX,
  PAGE_ITEMS_DEFAULT,
  PAGE_ITEMS_MAX,
  PAYLOAD_BYTES_MAX,
  REQUESTS_PER_SECOND_LIMIT_MAX,
} from '../../packages/contracts/index.ts';
import { ENTRIES_LOOKED_AT_MAX, IDEMPOTENCY_KEY_TTL_MS, INSTANCE_TTL_MS } from '../../packages/database/index.ts';
import {
  ACTION_HEADERS_BYTES_MAX,
  ACTION_HEADERS_MAX,
  BACKOFF_MAX_MS,
  ENCRYPTION_KEYS_MAX,
  LOST_IN_A_ROW_MAX,
  RETRIES_MAX,
  RETRY_AFTER_MAX_MS,
  RETRY_DEFAULT,
  SIGNING_SECRETS_MAX,
  TASKS_PER_WORKFLOW_MAX,
  TIMEOUT_MS_DEFAULT,
  TIMEOUT_MS_MAX,
  TIMEOUT_MS_MIN,
  URL_LENGTH_MAX,
} from '../../packages/domain/index.ts';
import { TIMERS_PER_CHUNK_MAX } from '../../packages/queue/index.ts';
import { DRAIN_TIMEOUT_MS_DEFAULT, REQUEST_HEAD_BYTES_MAX } from '../../packages/runtime/index.ts';
import { TASKS_PER_BATCH_MAX } from '../../services/api-service/runs/create-runs.ts';
import { WORKFLOW_TASKS_BYTES_MAX } from '../../services/api-service/workflows/validate-tasks.ts';
import { ANSWER_HEAD_BYTES_MAX } from '../../services/worker-service/targets/answer-parser.ts';
import { RESPONSE_DRAINED_BYTES_MAX } from '../../services/worker-service/targets/http-attempt.ts';
import { RESPONSE_BODY_BYTES_MAX } from '../../services/worker-service/targets/response-text.ts';
import { renderTable } from './markdown.ts';

export function describeLimits(): string {
  const { backoff } = RETRY_DEFAULT;
  const rows: [string, string][] = [
    ['Timers, runs or ids in one batch', format(BATCH_ITEMS_MAX)],
    ['Items on one page of a list', `${PAGE_ITEMS_MAX}; ${PAGE_ITEMS_DEFAULT} unless asked for`],
    ['`GET /v1/timers/count`', `exact to ${format(COUNT_MAX)}`],
    ['Buckets of a histogram', format(HISTOGRAM_BUCKETS_MAX)],
    ['Payload, body of an action, input of a run', `${format(PAYLOAD_BYTES_MAX)} bytes of JSON each`],
    ['Line and headers of a request', `${format(REQUEST_HEAD_BYTES_MAX)} bytes together`],
    ['Nesting of a request body', String(JSON_DEPTH_MAX)],
    ['Labels', `${LABELS_MAX}, keys of ${LABEL_KEY_LENGTH_MAX} and values of ${LABEL_VALUE_LENGTH_MAX} characters`],
    ['`externalId`', `${EXTERNAL_ID_LENGTH_MAX} characters`],
    [
      'Tasks of one workflow',
      `${format(TASKS_PER_WORKFLOW_MAX)}, and ${format(WORKFLOW_TASKS_BYTES_MAX)} bytes of JSON together`,
    ],
    ['Tasks that the runs of one batch have together', format(TASKS_PER_BATCH_MAX)],
    [
      '`requestsPerSecondMax` and `liveTimersMax` of a tenant',
      `${format(REQUESTS_PER_SECOND_LIMIT_MAX)} and ${format(LIVE_TIMERS_LIMIT_MAX)}`,
    ],
    ['URL of an action', `${format(URL_LENGTH_MAX)} characters`],
    ['Encryption keys', String(ENCRYPTION_KEYS_MAX)],
    ['Signing secrets of one tenant that sign at one time', String(SIGNING_SECRETS_MAX)],
    ['Entries of the audit log that one page of a narrowed list looks at', format(ENTRIES_LOOKED_AT_MAX)],
    ['Headers of an action', `${ACTION_HEADERS_MAX}, and ${format(ACTION_HEADERS_BYTES_MAX)} bytes together`],
    ['`timeoutMs`', `${TIMEOUT_MS_MIN} to ${format(TIMEOUT_MS_MAX)}; ${format(TIMEOUT_MS_DEFAULT)} unless set`],
    ['`retry.maxRetries`', `0 to ${RETRIES_MAX}; ${RETRY_DEFAULT.maxRetries} unless set`],
    [
      '`retry.backoff`',
      `\`initialMs\` and \`maxMs\` up to ${format(BACKOFF_MAX_MS)}; unless set: \`initialMs\` ${format(backoff.initialMs)}, \`factor\` ${backoff.factor}, \`maxMs\` ${format(backoff.maxMs)}, \`jitter\` ${backoff.jitter}`,
    ],
    ['Wait that a `Retry-After` can bring about', `${format(RETRY_AFTER_MAX_MS)} ms`],
    ['Losses of one attempt in a row before the dead letter', String(LOST_IN_A_ROW_MAX)],
    [
      'Answer of an endpoint that is read',
      `${format(RESPONSE_DRAINED_BYTES_MAX)} bytes, and ${format(ANSWER_HEAD_BYTES_MAX)} of headers`,
    ],
    ['Answer of an endpoint that is kept', `${format(RESPONSE_BODY_BYTES_MAX)} bytes`],
    ['An idempotency key is remembered', `${format(IDEMPOTENCY_KEY_TTL_MS)} ms`],
    ['Timers in one chunk', String(TIMERS_PER_CHUNK_MAX)],
    ['A silent process leaves the lists of workers and schedulers after', `${format(INSTANCE_TTL_MS)} ms`],
    ['A drain that is not finished is given up after', `${format(DRAIN_TIMEOUT_MS_DEFAULT)} ms, with exit code 1`],
  ];
  return renderTable(['What', 'Limit'], rows);
}

function format(number: number): string {
  return number.toLocaleString('en-US');
}
