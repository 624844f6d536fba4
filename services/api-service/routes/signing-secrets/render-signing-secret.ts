import type { SigningSecret } from '@punctual/contracts';
import type { SigningSecretSummary } from '@punctual/database';

/** A signing secret as the api shows it: without the secret. */
export function renderSigningSecret(secret: SigningSecretSummary): SigningSecret {
  return {
    id: secret.id,
    createdAt: new Date(secret.created_at).toISOString(),
    ...(secret.expires_at !== null && { expiresAt: new Date(secret.expires_at).toISOString() }),
  };
}
