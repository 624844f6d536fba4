/** In which context a signing secret is sealed: it opens as that row of that tenant only. */
export function describeSigningSecret(tenantId: string, id: string): string {
  return `signing-secret ${tenantId} ${id}`;
}

/**
 * Secrets that sign a tenant's requests at one time, at most: the present one and those that it replaces. Each costs some
 * microseconds and 48 bytes of each request.
 */
export const SIGNING_SECRETS_MAX = 5;
