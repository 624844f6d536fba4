import type { Actor, AuditAction } from '@punctual/domain';
import type { Queryable } from '../connect.ts';
import { nameStatement, toPlainArray } from '../statement.ts';

/** By whom something is changed, as what, and in which request: what the audit log tells of a change besides its targets. */
export interface ChangeOrigin {
  action: AuditAction;
  actor: Actor;
  /** The API key's id; null unless `actor` is `key`. */
  keyId: string | null;
  /** Holds no spaces. */
  requestId: string;
  /** JSON text of a small object: never a payload, never a secret. */
  details?: string;
  /** The span of the request, where it is traced: kept of what it creates (`recordTraces`). */
  traceparent?: string;
}

/** Something that is changed, and by whom. Tenants may differ within one statement. */
export interface Change {
  tenantId: string;
  targetId: string;
  origin: ChangeOrigin;
}

/** One row of the log: what one key changed of one tenant in one statement, as one action and with the same details. */
interface Entry {
  index: number;
  tenantId: string;
  origin: ChangeOrigin;
  targetIds: string[];
  requestIds: string[];
  /** Whether all of it was one request. */
  isOfOneRequest: boolean;
}

const COLUMNS = 'tenant_id, key_id, actor, action, details, target_ids, request_ids';

function groupChanges(changes: readonly (Omit<Change, 'origin'> & { origin: ChangeOrigin | undefined })[]) {
  const entries = new Map<string, Entry>();
  const entryOf = changes.map(({ tenantId, targetId, origin }) => {
    if (!origin) return undefined;
    const { action, actor, keyId, details, requestId } = origin;
    const name = `${tenantId} ${actor} ${keyId} ${action} ${details}`;
    let entry = entries.get(name);
    if (!entry) {
      entry = { index: entries.size + 1, tenantId, origin, targetIds: [], requestIds: [], isOfOneRequest: true };
      entries.set(name, entry);
    } else if (entry.requestIds[0] !== requestId) entry.isOfOneRequest = false;
    entry.targetIds.push(targetId);
    entry.requestIds.push(requestId);
    return entry;
  });
  return { entries: [...entries.values()], entryOf };
}

function toSharedColumns(entries: readonly Entry[]): unknown[] {
  return [
    toPlainArray(entries.map(({ tenantId }) => tenantId)),
    toPlainArray(entries.map(({ origin }) => origin.keyId)),
    toPlainArray(entries.map(({ origin }) => origin.actor)),
    toPlainArray(entries.map(({ origin }) => origin.action)),
    entries.map(({ origin }) => origin.details ?? null),
  ];
}

const listParameters = (first: number, types: readonly string[]) =>
  types.map((type, index) => `$${first + index}::${type}[]`).join(', ');
const SHARED_TYPES = ['uuid', 'uuid', 'text', 'text', 'text'];

/**
 * SQL: enters changes in the audit log that are all made, or none: part of the statement that makes them, so that neither is
 * ever without the other. `first` is the number of the first parameter of `toEntryColumns`.
 */
export const enterAll = (first: number) => `
  INSERT INTO audit_log (${COLUMNS})
  SELECT tenant_id, key_id, actor, action, details::json, target_ids::uuid[], request_ids
  FROM unnest(${listParameters(first, [...SHARED_TYPES, 'text', 'text'])}) AS e(${COLUMNS})`;

/** The parameters of `enterAll`. */
export function toEntryColumns(changes: readonly Change[]): unknown[] {
  const { entries } = groupChanges(changes);
  return [
    ...toSharedColumns(entries),
    entries.map(({ targetIds }) => toPlainArray(targetIds)),
    entries.map(({ requestIds, isOfOneRequest }) => (isOfOneRequest ? requestIds[0] : requestIds.join(' '))),
  ];
}

/** How many parameters `toOriginColumns` makes. */
export const ORIGIN_PARAMETERS = 2 + SHARED_TYPES.length + 1;

/** SQL: types of the columns that tell, of each row of a statement's input, in which entry it stands: `entry`, `request_id`. */
export const originInput = (first: number) => listParameters(first, ['int', 'text']);

/**
 * SQL: enters those changes in the audit log that turned out to be made: rows of `changed`, with the columns `id`, `entry` and
 * `request_id`. An entry of which nothing was changed is left out. `first` is the number of the first parameter of
 * `toOriginColumns`.
 */
export const enterChanged = (changed: string, first: number) => `
  INSERT INTO audit_log (${COLUMNS})
  SELECT e.tenant_id, e.key_id, e.actor, e.action, e.details::json, c.ids, coalesce(e.request_id, c.request_ids)
  FROM (SELECT entry, array_agg(id) AS ids, string_agg(request_id, ' ') AS request_ids FROM ${changed} GROUP BY entry) AS c
  JOIN unnest(${listParameters(first + 2, [...SHARED_TYPES, 'text'])})
    WITH ORDINALITY AS e(tenant_id, key_id, actor, action, details, request_id, entry) ON e.entry = c.entry`;

/** The parameters of `originInput` and `enterChanged` for rows in this order; one without an origin is entered nowhere. */
export function toOriginColumns(changes: readonly { tenantId: string; origin: ChangeOrigin | undefined }[]): unknown[] {
  const { entries, entryOf } = groupChanges(changes.map((change) => ({ ...change, targetId: '' })));
  return [
    // One that is null is joined with no entry.
    toPlainArray(entryOf.map((entry) => entry?.index ?? null)),
    changes.map(({ origin }, index) => (entryOf[index]?.isOfOneRequest ? null : (origin?.requestId ?? null))),
    ...toSharedColumns(entries),
    entries.map(({ requestIds, isOfOneRequest }) => (isOfOneRequest ? requestIds[0]! : null)),
  ];
}

const insertEntries = nameStatement('record_changes', enterAll(1));

/**
 * Enters changes in the audit log, in the transaction that makes them: what `client` rolls back was never done by anybody.
 * Without changes it does nothing.
 */
export async function recordChanges(client: Queryable, changes: readonly Change[]): Promise<void> {
  if (changes.length > 0) await insertEntries(client, toEntryColumns(changes));
}
