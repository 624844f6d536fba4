// What the dashboards ask for, and what the answers tell. `npm run docs` makes ../dashboards from it.
import type { DashboardText } from './build-dashboard.ts';
import { DATABASE } from './database.ts';
import { OVERVIEW } from './overview.ts';
import { SCHEDULER } from './scheduler.ts';
import { TENANTS } from './tenants.ts';
import { WORKER } from './worker.ts';

export const DASHBOARDS: Readonly<Record<string, DashboardText>> = {
  overview: OVERVIEW,
  scheduler: SCHEDULER,
  worker: WORKER,
  database: DATABASE,
  tenant: TENANTS,
};
