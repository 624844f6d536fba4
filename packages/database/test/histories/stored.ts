import type pg from 'pg';
import { writePayload } from './operations.ts';
import { isLive, type ModelLedger, type ModelTimer } from './timer-model.ts';

interface StoredTimer {
  id: string;
  state: string;
  version: number;
  attempt: number;
  lost: number | null;
  due: number;
  wake: number | null;
  lease: number | null;
  payload: string;
  outcome: string | null;
}

// A dead timer in the history is one that was dismissed.
const TIMERS = `
  SELECT id, state::text, version, attempt, lost, due_at AS due, wake_at AS wake, lease_ends_at AS lease, payload, NULL AS outcome
  FROM timers WHERE tenant_id = $1
  UNION ALL SELECT id, state::text, version, attempt, NULL, due_at, NULL, NULL, payload, outcome::text
  FROM dead_letters WHERE tenant_id = $1
  UNION ALL SELECT id, CASE state WHEN 'dead' THEN 'dismissed' ELSE state::text END, version, attempt, NULL, due_at, NULL, NULL,
    payload, outcome::text
  FROM finished_timers WHERE tenant_id = $1`;

const LEDGER = `
  SELECT coalesce(sum(created), 0)::int AS created, coalesce(sum(succeeded), 0)::int AS succeeded,
    coalesce(sum(dead), 0)::int AS dead, coalesce(sum(cancelled), 0)::int AS cancelled, coalesce(sum(dismissed), 0)::int AS dismissed
  FROM (
    SELECT created, succeeded, dead, cancelled, dismissed FROM ledger_entries WHERE tenant_id = $1
    UNION ALL SELECT created, succeeded, dead, cancelled, dismissed FROM ledger_totals WHERE tenant_id = $1
  ) AS booked`;

/** Where the tables differ from the model, in words. Sees what is committed, and so must the model. */
export async function findDifferences(
  client: pg.ClientBase,
  tenantId: string,
  timers: ReadonlyMap<string, ModelTimer>,
  ledger: ModelLedger,
): Promise<string[]> {
  const { rows } = await client.query<StoredTimer>({ name: 'history_timers', text: TIMERS, values: [tenantId] });
  const stored = rows.map(showStored).toSorted();
  const expected = [...timers.values()].map(showModel).toSorted();
  const differences = compare('stored', stored, expected);
  const { rows: attempts } = await client.query<{ line: string }>({
    name: 'history_attempts',
    text: `SELECT timer_id || ' ' || attempt || ' ' || outcome AS line FROM attempts WHERE tenant_id = $1`,
    values: [tenantId],
  });
  differences.push(
    ...compare(
      'recorded',
      attempts.map(({ line }) => line).toSorted(),
      [...timers.values()].flatMap(({ id, attempts: own }) => own.map((line) => `${id} ${line}`)).toSorted(),
    ),
  );
  const { rows: audited } = await client.query<{ line: string }>({
    name: 'history_audit',
    text: `SELECT named || ' ' || count(*) AS line FROM audit_log, unnest(target_ids) AS named WHERE tenant_id = $1 GROUP BY named`,
    values: [tenantId],
  });
  differences.push(
    ...compare(
      'audited',
      audited.map(({ line }) => line).toSorted(),
      [...timers.values()].map(({ id, audited: times }) => `${id} ${times}`).toSorted(),
    ),
  );
  const { rows: books } = await client.query<ModelLedger>({ name: 'history_ledger', text: LEDGER, values: [tenantId] });
  const booked = books[0]!;
  differences.push(...compare('booked', [JSON.stringify(booked)], [JSON.stringify(ledger)]));
  // Guarantee 1, without the model: created = live + finished, and dead letters are those of the dead that nobody dismissed.
  const count = (state: (timer: StoredTimer) => boolean) => rows.filter(state).length;
  const live = count(({ wake }) => wake !== null);
  const { created, succeeded, dead, cancelled, dismissed } = booked;
  if (created !== live + succeeded + dead + cancelled || count(({ state }) => state === 'dead') !== dead - dismissed)
    differences.push(`the ledger does not balance: ${JSON.stringify(booked)} with ${live} live`);
  return differences;
}

function showStored(row: StoredTimer): string {
  const live = row.wake === null ? '' : ` lost ${row.lost} wake ${row.wake} lease ${row.lease}`;
  return `${row.id} ${row.state} v${row.version} attempt ${row.attempt} due ${row.due} ${row.payload} ${row.outcome}${live}`;
}

function showModel(timer: ModelTimer): string {
  const live = isLive(timer) ? ` lost ${timer.lost} wake ${timer.wakeAt} lease ${timer.leaseEndsAt}` : '';
  const { id, state, version, attempt, dueAt, payload, outcome } = timer;
  return `${id} ${state} v${version} attempt ${attempt} due ${dueAt} ${writePayload(payload)} ${outcome}${live}`;
}

/** Lines that one list has and the other has not. */
export function compare(what: string, found: readonly string[], expected: readonly string[]): string[] {
  if (found.length === expected.length && found.every((line, index) => line === expected[index])) return [];
  const left = [...expected];
  const extra = found.filter((line) => {
    const index = left.indexOf(line);
    if (index >= 0) left.splice(index, 1);
    return index < 0;
  });
  return [...extra.map((line) => `${what} by mistake: ${line}`), ...left.map((line) => `not ${what}: ${line}`)];
}
