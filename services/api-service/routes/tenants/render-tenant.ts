import type { Tenant } from '@punctual/contracts';
import type { TenantSummary } from '@punctual/database';

/** A tenant as the api shows it. */
export function renderTenant(tenant: TenantSummary): Tenant {
  return {
    id: tenant.id,
    name: tenant.name,
    isSigned: tenant.is_signed,
    requestsPerSecondMax: tenant.requests_per_second_max,
    liveTimersMax: tenant.live_timers_max,
    retentionDays: tenant.retention_days,
    createdAt: new Date(tenant.created_at).toISOString(),
  };
}
