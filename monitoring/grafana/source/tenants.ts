import type { DashboardText, PanelText } from './build-dashboard.ts';
import { perSecond } from './panels.ts';

const TENANT = '{tenant=~"$tenant"';
const ofTenant = (status: string) => `max by (tenant) (scheduler_tenant_timers${TENANT}, status="${status}"})`;
// They are gauges, since the totals of a tenant are read and not counted here; what they tell only ever grows.
const tenantRate = (title: string, status: string, tells: string): PanelText => ({
  title,
  tells,
  unit: 'ops',
  queries: [[`max by (tenant) (rate(scheduler_tenant_timers${TENANT}, status="${status}"}[10m]))`, '{{tenant}}']],
});

export const TENANTS: DashboardText = {
  uid: 'punctual-tenant',
  title: 'Punctual: tenants',
  tells:
    'The twenty tenants with the most live timers, once a minute. More of one tenant: GET /v1/ledger with its key.',
  variable: { name: 'tenant', metric: 'scheduler_tenant_timers', label: 'tenant' },
  rows: [
    {
      title: 'Timers',
      panels: [
        { title: 'Live', tells: 'Timers that have not ended.', queries: [[ofTenant('live'), '{{tenant}}']] },
        tenantRate('Created', 'created', 'A second.'),
        tenantRate('Succeeded', 'succeeded', 'A second.'),
        tenantRate('Dead', 'dead', 'A second: they became dead letters.'),
        tenantRate('Cancelled', 'cancelled', 'A second.'),
        tenantRate('Skipped', 'skipped', 'A second.'),
      ],
    },
    {
      title: 'Limits',
      panels: [
        perSecond(
          'Refused for a limit',
          'api_requests_limited_total',
          'Requests of all tenants that were beyond one.',
          'limit',
        ),
        perSecond(
          'Ahead of a backlog',
          'scheduler_timers_ahead_of_backlog_total',
          "Timers that were handed over in their tenant's turn.",
        ),
        {
          title: 'Task queues',
          tells: 'Requests of pull workers that wait for something to do.',
          queries: [['sum(api_lease_waits)', 'waiting']],
        },
      ],
    },
  ],
};

/** By the name of the file. */
