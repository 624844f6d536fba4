import { ProblemError } from '../problem.ts';

/** There is no such tenant, or it is not the caller's to act on. */
export function createTenantNotFound(): ProblemError {
  return new ProblemError(404, 'tenant_not_found', 'There is no such tenant.');
}

/** Nothing can be encrypted here, and secrets are not stored in plain text. */
export function createKeyMissing(): ProblemError {
  return new ProblemError(
    409,
    'encryption_key_missing',
    'Signing secrets are stored encrypted, and there is no key: set ENCRYPTION_KEYS for every api and worker, and restart them.',
  );
}
