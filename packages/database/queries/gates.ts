import type { Queryable, Transaction } from '../connect.ts';
import { nameStatement } from '../statement.ts';
import { withOwnRights } from '../tenant-pool.ts';

export const GATE_KINDS = ['workflow', 'queue', 'origin'] as const;
export type GateKind = (typeof GATE_KINDS)[number];

/** What a gate is for: the workflow's id, the queue's name, or an origin (scheme, host and port). */
export interface GateKey {
  tenantId: string;
  kind: GateKind;
  name: string;
}

/** A gate that holds something back. Instants in epoch ms. */
export interface Gate extends GateKey {
  /** Since when nothing begins; null: it is open, but for what was cancelled. */
  pausedAt: number | null;
  /** What was created before it ends as cancelled. */
  cancelledBefore: number | null;
}

/**
 * How long a worker may act on what it knows of the gates without having looked again (ms). Whoever closes a gate has to wait
 * at most so long, for workers that do not say that they heed it. Above it, a worker that waits for Postgres stands still.
 */
export const GATES_KNOWN_FOR_MS = 2_000;
/** Gates of one tenant: every worker keeps all of them in memory. */
export const GATES_PER_TENANT_MAX = 10_000;
/** Gates of all tenants together. A worker reads all of them when one changes: some 0.2 s of processor time for so many. */
export const GATES_MAX = 100_000;

/** The name under which a gate's timers are parked. */
export const nameParking = ({ kind, name }: Pick<GateKey, 'kind' | 'name'>) => `${kind}:${name}`;

const COLUMNS = `tenant_id AS "tenantId", kind, name, paused_at AS "pausedAt", cancelled_before AS "cancelledBefore"`;

const raiseEpoch = nameStatement<{ epoch: number }>(
  'raise_gates_epoch',
  'UPDATE gates_epoch SET epoch = epoch + 1 RETURNING epoch',
);
const selectEpoch = nameStatement<{ epoch: number }>('read_gates_epoch', 'SELECT epoch FROM gates_epoch');

/** Tells all workers, from the commit on, that a gate has changed. The last statement of its transaction: it locks out all other such. */
export async function announceGates(client: Transaction): Promise<void> {
  await withOwnRights(client, (own) => raiseEpoch(own, []));
}

/** The epoch of the gates as they are committed. */
export async function readGatesEpoch(database: Queryable): Promise<number> {
  const [row] = await selectEpoch(database, []);
  return row!.epoch;
}

const pauseGate = nameStatement<Gate>(
  'pause_gate',
  `INSERT INTO gates AS g (tenant_id, kind, name, paused_at) VALUES ($1, $2, $3, clock_timestamp())
   ON CONFLICT (tenant_id, kind, name) DO UPDATE SET paused_at = coalesce(g.paused_at, excluded.paused_at)
   RETURNING ${COLUMNS}`,
);

/** Closes a gate; one that is closed stays as it is. Takes effect with `announceGates` and the commit. */
export async function closeGate(client: Transaction, { tenantId, kind, name }: GateKey): Promise<Gate> {
  const [row] = await pauseGate(client, [tenantId, kind, name]);
  return row!;
}

const cancelGate = nameStatement<Gate>(
  'cancel_gate',
  `INSERT INTO gates AS g (tenant_id, kind, name, cancelled_before) VALUES ($1, $2, $3, clock_timestamp())
   ON CONFLICT (tenant_id, kind, name) DO UPDATE SET cancelled_before = excluded.cancelled_before
   RETURNING ${COLUMNS}`,
);

/** Ends everything of a workflow that was created before now. Takes effect with `announceGates` and the commit. */
export async function cancelByGate(client: Transaction, { tenantId, kind, name }: GateKey): Promise<Gate> {
  const [row] = await cancelGate(client, [tenantId, kind, name]);
  return row!;
}

const lockRow = nameStatement<Gate>(
  'lock_gate',
  `SELECT ${COLUMNS} FROM gates WHERE tenant_id = $1 AND kind = $2 AND name = $3 FOR UPDATE`,
);
const selectRow = nameStatement<Gate>(
  'read_gate',
  `SELECT ${COLUMNS} FROM gates WHERE tenant_id = $1 AND kind = $2 AND name = $3`,
);

/** A gate as it is. */
export async function readGate(database: Queryable, { tenantId, kind, name }: GateKey): Promise<Gate | undefined> {
  const [row] = await selectRow(database, [tenantId, kind, name]);
  return row;
}

const dropRow = nameStatement<{ name: string }>(
  'drop_gate',
  `DELETE FROM gates WHERE tenant_id = $1 AND kind = $2 AND name = $3 RETURNING name`,
);
const unpauseRow = nameStatement<{ name: string }>(
  'unpause_gate',
  `UPDATE gates SET paused_at = NULL WHERE tenant_id = $1 AND kind = $2 AND name = $3 RETURNING name`,
);
const uncancelRow = nameStatement<{ name: string }>(
  'uncancel_gate',
  `UPDATE gates SET cancelled_before = NULL WHERE tenant_id = $1 AND kind = $2 AND name = $3 RETURNING name`,
);

/** Locks a gate until the transaction ends, so that nothing is parked for it meanwhile. Undefined: there is none. */
export async function lockGate(client: Transaction, { tenantId, kind, name }: GateKey): Promise<Gate | undefined> {
  const [row] = await lockRow(client, [tenantId, kind, name]);
  return row;
}

/** Opens a gate, which waits for whoever is parking timers for it: all that are parked can be seen afterwards. */
export async function openGate(client: Transaction, key: GateKey): Promise<Gate | undefined> {
  const gate = await lockGate(client, key);
  if (!gate || gate.pausedAt === null) return undefined;
  const change = gate.cancelledBefore === null ? dropRow : unpauseRow;
  await change(client, [key.tenantId, key.kind, key.name]);
  return gate;
}

/** Forgets that something was cancelled by a gate, when nothing of it is left; a cancel that came later stays. */
export async function forgetCancel(client: Transaction, key: GateKey, cancelledBefore: number): Promise<boolean> {
  const gate = await lockGate(client, key);
  if (!gate || gate.cancelledBefore === null || gate.cancelledBefore > cancelledBefore) return false;
  const change = gate.pausedAt === null ? dropRow : uncancelRow;
  await change(client, [key.tenantId, key.kind, key.name]);
  return true;
}

const selectRows = nameStatement<Gate>(
  'read_gates',
  `SELECT ${COLUMNS} FROM gates
   WHERE (tenant_id, kind, name) IN (SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[]))`,
);

/** Of these gates those that are there. */
export function readGates(database: Queryable, keys: readonly GateKey[]): Promise<Gate[]> {
  return selectRows(database, toKeyColumns(keys));
}

const shareRows = nameStatement<Gate>(
  'share_gates',
  `SELECT ${COLUMNS} FROM gates
   WHERE (tenant_id, kind, name) IN (SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[]))
   ORDER BY tenant_id, kind, name FOR SHARE`,
);

/** Of these gates those that are there, kept as they are until the transaction ends. */
export function shareGates(client: Transaction, keys: readonly GateKey[]): Promise<Gate[]> {
  return shareRows(client, toKeyColumns(keys));
}

function toKeyColumns(keys: readonly GateKey[]): unknown[] {
  return [keys.map(({ tenantId }) => tenantId), keys.map(({ kind }) => kind), keys.map(({ name }) => name)];
}

const selectGates = nameStatement<Gate>(
  'list_gates',
  `SELECT ${COLUMNS} FROM gates WHERE tenant_id = $1 AND (kind, name) > ($2, $3) ORDER BY kind, name LIMIT $4`,
);

/** A tenant's gates in the order `(kind, name)`, behind `after`. */
export function listGates(
  database: Queryable,
  tenantId: string,
  after: { kind: string; name: string } | undefined,
  limit: number,
): Promise<Gate[]> {
  return selectGates(database, [tenantId, after?.kind ?? '', after?.name ?? '', limit]);
}

const countRows = nameStatement<{ count: number }>(
  'count_gates',
  'SELECT count(*) AS count FROM (SELECT FROM gates WHERE tenant_id = $1 LIMIT $2) AS g',
);
const countAllRows = nameStatement<{ count: number }>(
  'count_all_gates',
  'SELECT count(*) AS count FROM (SELECT FROM gates LIMIT $1) AS g',
);

/** Whether a tenant has as many gates as it may, or all tenants together have. */
export async function hasGatesEnough(
  client: Transaction,
  tenantId: string,
  { ofTenant, ofAll } = { ofTenant: GATES_PER_TENANT_MAX, ofAll: GATES_MAX },
): Promise<boolean> {
  const [own] = await countRows(client, [tenantId, ofTenant]);
  if (own!.count >= ofTenant) return true;
  const [all] = await withOwnRights(client, (opened) => countAllRows(opened, [ofAll]));
  return all!.count >= ofAll;
}

// The workers' side.

/** How a worker stands to the gates. */
export interface GatesLook {
  epoch: number;
  /** Up to which epoch it has said that it heeds the gates; null: never. */
  heeded: number | null;
  /** Whether whoever closes a gate waits for this worker: its heartbeat is young enough. */
  isHeard: boolean | null;
}

const lookAt = nameStatement<GatesLook>(
  'look_at_gates',
  `SELECT e.epoch, i.gates_epoch AS heeded, i.heartbeat_at > statement_timestamp() - $2::float8 * interval '1 millisecond' AS "isHeard"
   FROM gates_epoch AS e LEFT JOIN service_instances AS i ON i.id = $1`,
);

/** What a worker has to know before it may act on the gates that it remembers. */
export async function lookAtGates(database: Queryable, instanceId: string): Promise<GatesLook> {
  const [row] = await lookAt(database, [instanceId, GATES_KNOWN_FOR_MS]);
  return row!;
}

const selectAll = nameStatement<{ epoch: number } & { [Field in keyof Gate]: Gate[Field] | null }>(
  'read_all_gates',
  `SELECT e.epoch, g."tenantId", g.kind, g.name, g."pausedAt", g."cancelledBefore"
   FROM gates_epoch AS e LEFT JOIN (SELECT ${COLUMNS} FROM gates) AS g ON true`,
);

/** The gates of all tenants, and the epoch that they have. */
export async function readAllGates(database: Queryable): Promise<{ epoch: number; gates: Gate[] }> {
  const rows = await selectAll(database, []);
  const gates = rows.filter((row): row is { epoch: number } & Gate => row.kind !== null);
  return { epoch: rows[0]!.epoch, gates };
}

const heed = nameStatement(
  'heed_gates',
  'UPDATE service_instances SET gates_epoch = $2 WHERE id = $1 AND coalesce(gates_epoch, -1) < $2::bigint',
);

/** Says that from now on a worker heeds the gates of this epoch. */
export async function heedGates(database: Queryable, instanceId: string, epoch: number): Promise<void> {
  await heed(database, [instanceId, epoch]);
}

const countOthers = nameStatement<{ count: number }>(
  'count_unheeding_workers',
  `SELECT count(*) AS count FROM service_instances
   WHERE role = 'worker' AND coalesce(gates_epoch, -1) < $1::bigint
     AND heartbeat_at > statement_timestamp() - 2 * $2::float8 * interval '1 millisecond'`,
);

/**
 * How many workers may still act on gates of before this epoch. One that has not been heard of for twice GATES_KNOWN_FOR_MS
 * can not: it looks at its own heartbeat too.
 */
export async function countUnheedingWorkers(database: Queryable, epoch: number): Promise<number> {
  const [row] = await countOthers(database, [epoch, GATES_KNOWN_FOR_MS]);
  return row!.count;
}
