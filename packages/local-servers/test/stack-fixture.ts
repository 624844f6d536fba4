import { fileURLToPath } from 'node:url';

const pathOf = (name: string) => fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));

/** Programs that stand in for the services and the migration. */
export function fixtureEntries() {
  const service = pathOf('service.ts');
  return { api: service, scheduler: service, worker: service, migrate: pathOf('migrate.ts') };
}

export const FAILING_MIGRATION = pathOf('failing-migrate.ts');
export const FAILING_SERVICE = pathOf('failing-service.ts');
export const UNREADY_SERVICE = pathOf('unready-service.ts');
