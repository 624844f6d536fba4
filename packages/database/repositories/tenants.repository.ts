import { sql } from 'kysely';
import type { Database, Queryable } from '../connect.ts';
import { queryBuilder } from '../query-builder.ts';
import { runQuery } from '../run-query.ts';
import type { TenantRow } from '../tables.ts';
import { type CreatedAfter, createdBehind, cutRows, type StoredPage, toInstant } from './keyset.ts';

/** A tenant to store. `createdAt` in epoch ms; a limit that is null, or absent, is what the api's settings say. */
export interface NewTenant {
  id: string;
  name: string;
  createdAt: number;
  requestsPerSecondMax?: number | null;
  liveTimersMax?: number | null;
  /** Null, or absent: what the schedulers' setting says. */
  retentionDays?: number | null;
}

/** Stores a tenant. */
export async function createTenant(database: Queryable, tenant: NewTenant): Promise<void> {
  await runQuery(
    database,
    queryBuilder.insertInto('tenants').values({
      id: tenant.id,
      name: tenant.name,
      signing_secrets: [],
      created_at: toInstant(tenant.createdAt),
      requests_per_second_max: tenant.requestsPerSecondMax ?? null,
      live_timers_max: tenant.liveTimersMax ?? null,
      retention_days: tenant.retentionDays ?? null,
    }),
  );
}

/** Whether there is such a tenant. */
export async function hasTenant(database: Queryable, id: string): Promise<boolean> {
  const found = await runQuery(database, queryBuilder.selectFrom('tenants').select('id').where('id', '=', id));
  return found.length > 0;
}

/** A tenant as lists show it: its secrets stay where they are. */
export type TenantSummary = Omit<TenantRow, 'signing_secrets'> & { is_signed: boolean };

const SUMMARY = ['id', 'name', 'created_at', 'requests_per_second_max', 'live_timers_max', 'retention_days'] as const;
const IS_SIGNED = sql<boolean>`(cardinality(signing_secrets) > 0 OR EXISTS (SELECT FROM signing_secrets AS s
  WHERE s.tenant_id = tenants.id AND (s.expires_at IS NULL OR s.expires_at > clock_timestamp())))`.as('is_signed');

/** All tenants in the order `(createdAt, id)`. */
export async function listTenants(
  database: Pick<Database, 'kysely'>,
  page: { after: CreatedAfter | undefined; limit: number },
): Promise<StoredPage<TenantSummary>> {
  let query = database.kysely
    .selectFrom('tenants')
    .select(SUMMARY)
    .select(IS_SIGNED)
    .orderBy('created_at')
    .orderBy('id')
    .limit(page.limit + 1);
  if (page.after) query = query.where(createdBehind(page.after));
  return cutRows(await query.execute(), page.limit);
}

/** What is undefined stays. */
export type TenantChange = Partial<
  Pick<NewTenant, 'name' | 'requestsPerSecondMax' | 'liveTimersMax' | 'retentionDays'>
>;

/** Changes a tenant. Returns it as it is now; undefined when there is none. At least one field must be given. */
export async function changeTenant(
  database: Queryable,
  id: string,
  { name, requestsPerSecondMax, liveTimersMax, retentionDays }: TenantChange,
): Promise<TenantSummary | undefined> {
  const [changed] = await runQuery(
    database,
    queryBuilder
      .updateTable('tenants')
      .set({
        ...(name !== undefined && { name }),
        ...(requestsPerSecondMax !== undefined && { requests_per_second_max: requestsPerSecondMax }),
        ...(liveTimersMax !== undefined && { live_timers_max: liveTimersMax }),
        ...(retentionDays !== undefined && { retention_days: retentionDays }),
      })
      .where('id', '=', id)
      .returning(SUMMARY)
      .returning(IS_SIGNED),
  );
  return changed;
}
