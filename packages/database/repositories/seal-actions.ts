import {
  type Action,
  HARMLESS_NAME_PATTERN,
  type Keyring,
  resealAction,
  SEALED_PREFIX,
  SECRET_NAME_PATTERN,
  UnreadableSecretError,
} from '@punctual/domain';
import type { Database } from '../connect.ts';
import { FIRST_ID } from '../queries/read-due-timers.ts';
import { nameStatement } from '../statement.ts';
import type { StoredTask } from '../workflow-versions.ts';

/** Where stored actions stand that may be sent again. Those of the history never are, and leave with their days. */
export const ACTION_TABLES = ['dead_letters', 'timers', 'schedules', 'workflow_versions'] as const;
export type ActionTable = (typeof ACTION_TABLES)[number];

/** What one look over a table came to. */
export interface SealedActions {
  lookedAt: number;
  sealed: number;
  /** Rows with a value that no key here opens, and the first few of them. */
  unreadable: number;
  unreadableSamples: string[];
}

/** Rows that one statement looks at, most of them some hundred bytes long. */
const TIMERS_PER_STATEMENT = 1_000;
const VERSIONS_PER_STATEMENT = 16;
/**
 * A page of rows ends behind the one with which their JSON reaches this (bytes): an action may have 70 kB, a version's tasks
 * a megabyte, and a statement's answer is in memory whole.
 */
const PAGE_ACTION_BYTES_MAX = 4_194_304;
const SAMPLES_MAX = 10;

interface StoredRow {
  id: string;
  version: number;
  tenant_id: string;
  /** JSON text; null when it can hold no header. */
  text: string | null;
}

/** SQL: of the rows of `page`, in the order of `(id, version)`, those that fit into a page; the first one always does. */
const cutPage = (page: string) => `
  SELECT id, version, tenant_id, text FROM (
    SELECT *, coalesce(sum(octet_length(text::text)) OVER (
      ORDER BY id, version ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS bytes_before
    FROM (${page}) AS page
  ) AS measured WHERE bytes_before < ${PAGE_ACTION_BYTES_MAX} ORDER BY id, version`;
const selectTimers = (table: 'timers' | 'dead_letters' | 'schedules') =>
  nameStatement<StoredRow>(
    `read_actions_of_${table}`,
    cutPage(
      `SELECT id, 0 AS version, tenant_id, CASE WHEN position('"headers"' IN action::text) > 0 THEN action END AS text
       FROM ${table} WHERE id > $1 ORDER BY id LIMIT ${TIMERS_PER_STATEMENT}`,
    ),
  );
// Locks rows in the order of their ids, for as long as the statement takes. An action that was changed since it was read is
// left alone: whoever changed it sealed it. Neither version nor any indexed column changes.
const updateTimers = (table: 'timers' | 'dead_letters' | 'schedules') =>
  nameStatement<{ id: string }>(
    `reseal_actions_of_${table}`,
    `UPDATE ${table} AS t SET action = n.after::json
     FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[]) AS n(id, version, before, after)
     WHERE t.id = n.id AND t.action::text = n.before RETURNING t.id`,
  );
const selectVersions = nameStatement<StoredRow>(
  'read_actions_of_workflow_versions',
  cutPage(
    `SELECT v.workflow_id AS id, v.version, w.tenant_id,
       CASE WHEN position('"headers"' IN v.tasks::text) > 0 THEN v.tasks END AS text
     FROM workflow_versions AS v JOIN workflows AS w ON w.id = v.workflow_id
     WHERE (v.workflow_id, v.version) > ($1::uuid, $2::int) ORDER BY v.workflow_id, v.version LIMIT ${VERSIONS_PER_STATEMENT}`,
  ),
);
const updateVersions = nameStatement<{ id: string }>(
  'reseal_actions_of_workflow_versions',
  `UPDATE workflow_versions AS v SET tasks = n.after::json
   FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[]) AS n(id, version, before, after)
   WHERE v.workflow_id = n.id AND v.version = n.version AND v.tasks::text = n.before RETURNING v.workflow_id AS id`,
);

const STATEMENTS = {
  timers: { select: selectTimers('timers'), update: updateTimers('timers') },
  dead_letters: { select: selectTimers('dead_letters'), update: updateTimers('dead_letters') },
  schedules: { select: selectTimers('schedules'), update: updateTimers('schedules') },
  workflow_versions: { select: selectVersions, update: updateVersions },
};

/**
 * Puts the secrets of all actions in a table under the keyring's present key: plain ones from before there was a key, and
 * those under others. It goes through the whole table, a page a statement. What moves to this table behind its back is found
 * by the next look.
 */
export async function sealStoredActions(
  database: Pick<Database, 'hot'>,
  table: ActionTable,
  keyring: Keyring,
): Promise<SealedActions> {
  const { select, update } = STATEMENTS[table];
  const reseal = table === 'workflow_versions' ? resealTasksText : resealActionText;
  const result: SealedActions = { lookedAt: 0, sealed: 0, unreadable: 0, unreadableSamples: [] };
  let place: unknown[] = table === 'workflow_versions' ? [FIRST_ID, 0] : [FIRST_ID];
  for (;;) {
    const rows = await select(database.hot, place);
    const last = rows.at(-1);
    if (!last) return result;
    place = table === 'workflow_versions' ? [last.id, last.version] : [last.id];
    result.lookedAt += rows.length;
    const changed: { row: StoredRow; after: string }[] = [];
    for (const row of rows) {
      if (row.text === null) continue;
      try {
        const after = reseal(row.text, row.tenant_id, keyring);
        if (after !== row.text) changed.push({ row, after });
      } catch (error) {
        if (!(error instanceof UnreadableSecretError)) throw error;
        result.unreadable += 1;
        if (result.unreadableSamples.length < SAMPLES_MAX) result.unreadableSamples.push(row.id);
      }
    }
    if (changed.length === 0) continue;
    const updated = await update(database.hot, [
      changed.map(({ row }) => row.id),
      changed.map(({ row }) => row.version),
      changed.map(({ row }) => row.text),
      changed.map(({ after }) => after),
    ]);
    result.sealed += updated.length;
  }
}

/** What is not under a key, in tables of which everything has to be before the keys before it can go. */
export interface SecretsLeft {
  /** Values of secret headers, in plain text or under other keys. */
  headerValues: number;
  /** Tenants with signing secrets in plain text, and signing secrets under other keys. */
  plainTenants: number;
  otherKeySecrets: number;
}

// One statement, so one snapshot: a timer that becomes a dead letter meanwhile is in exactly one of the tables. It reads them
// whole, without locks. Text that no header stands in is not parsed; a `headers` within a body is none.
const countLeft = nameStatement<SecretsLeft>(
  'count_secrets_left',
  `SELECT (
     SELECT count(*) FROM (
       SELECT action FROM timers WHERE position('"headers"' IN action::text) > 0
       UNION ALL
       SELECT action FROM dead_letters WHERE position('"headers"' IN action::text) > 0
       UNION ALL
       SELECT action FROM schedules WHERE position('"headers"' IN action::text) > 0
       UNION ALL
       SELECT task -> 'action' FROM workflow_versions, json_array_elements(tasks) AS task
       WHERE position('"headers"' IN tasks::text) > 0
     ) AS stored,
     json_each_text(CASE WHEN json_typeof(action -> 'headers') = 'object' THEN action -> 'headers' END) AS header
     WHERE CASE WHEN starts_with(header.value, $2) THEN NOT starts_with(header.value, $2 || $1 || ':')
       ELSE regexp_replace(lower(header.key), $4, '-', 'g') ~ $3 END
   ) AS "headerValues",
   (SELECT count(*) FROM tenants WHERE signing_secrets <> '{}') AS "plainTenants",
   (SELECT count(*) FROM signing_secrets WHERE key_id <> $1) AS "otherKeySecrets"`,
);

/** Counts all that is not under the key of that id, in one snapshot of all tables. It reads them whole: not for every day. */
export async function countSecretsLeft(
  database: Pick<Database, 'ordinary'>,
  primaryKeyId: string,
): Promise<SecretsLeft> {
  const patterns = [SECRET_NAME_PATTERN, HARMLESS_NAME_PATTERN];
  const [left] = await countLeft(database.ordinary, [primaryKeyId, SEALED_PREFIX, ...patterns]);
  return left!;
}

function resealActionText(text: string, tenantId: string, keyring: Keyring): string {
  const action = JSON.parse(text) as Action;
  const resealed = resealAction(action, tenantId, keyring);
  return resealed === action ? text : JSON.stringify(resealed);
}

function resealTasksText(text: string, tenantId: string, keyring: Keyring): string {
  const tasks = JSON.parse(text) as StoredTask[];
  const resealed = tasks.map((task) => {
    const action = resealAction(task.action, tenantId, keyring);
    return action === task.action ? task : { ...task, action };
  });
  return resealed.every((task, index) => task === tasks[index]) ? text : JSON.stringify(resealed);
}
