import type { ApiServer } from '../api-server.ts';
import type { ApiContext } from '../context.ts';
import { registerCreateApiKey } from './api-keys/create-api-key.ts';
import { registerListApiKeys } from './api-keys/list-api-keys.ts';
import { registerRevokeApiKey } from './api-keys/revoke-api-key.ts';
import { registerListAuditEntries } from './audit-log/list-audit-entries.ts';
import { registerReadLedger } from './ledger/read-ledger.ts';
import { registerListQueues } from './queues/list-queues.ts';
import { registerListSchedulers } from './schedulers/list-schedulers.ts';
import { registerCreateSigningSecret } from './signing-secrets/create-signing-secret.ts';
import { registerDeleteSigningSecret } from './signing-secrets/delete-signing-secret.ts';
import { registerListSigningSecrets } from './signing-secrets/list-signing-secrets.ts';
import { registerChangeTenant } from './tenants/change-tenant.ts';
import { registerCreateTenant } from './tenants/create-tenant.ts';
import { registerListTenants } from './tenants/list-tenants.ts';
import { registerListWorkers } from './workers/list-workers.ts';
import { registerSteerInstances } from './workers/steer-instances.ts';

/** What operators look at, and who may come in. All of it needs the scope `admin`. */
export function registerOperatorRoutes(app: ApiServer, context: ApiContext): void {
  registerCreateTenant(app, context);
  registerListTenants(app, context);
  registerChangeTenant(app, context);
  registerCreateSigningSecret(app, context);
  registerListSigningSecrets(app, context);
  registerDeleteSigningSecret(app, context);
  registerCreateApiKey(app, context);
  registerListApiKeys(app, context);
  registerRevokeApiKey(app, context);
  registerListWorkers(app, context);
  registerListSchedulers(app, context);
  registerSteerInstances(app, context);
  registerListQueues(app, context);
  registerReadLedger(app, context);
  registerListAuditEntries(app, context);
}
