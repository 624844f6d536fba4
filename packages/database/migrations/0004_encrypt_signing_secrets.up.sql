-- Signing secrets, encrypted, several a tenant while one replaces another. It locks `tenants` for an instant, for the
-- reference, and rewrites nothing. It needs no other migration than 0001.
--
-- A migration has no key and can not encrypt. So `tenants.signing_secrets` keeps what it has, workers of this version sign
-- with that too, and the api moves it here once it has a key and no worker is alive that has not. Older workers know
-- nothing of this table: they go on signing with what they find in the old place, and find nothing there after the move.
CREATE TABLE signing_secrets (
  id uuid PRIMARY KEY,
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  -- Which of ENCRYPTION_KEYS opens it; nonce, ciphertext and tag of AES-256-GCM, bound to tenant and id.
  key_id text NOT NULL,
  ciphertext bytea NOT NULL,
  created_at timestamptz(3) NOT NULL,
  -- NULL: it signs until it is replaced.
  expires_at timestamptz(3)
);
CREATE INDEX signing_secrets_list ON signing_secrets (tenant_id, created_at, id);
