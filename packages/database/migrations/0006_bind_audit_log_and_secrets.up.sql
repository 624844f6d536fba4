-- What migration 0003 did for the tables that it found, for those that came after it: of the audit log and of signing secrets a
-- tenant's statements see and change that tenant's rows only (docs/decisions/0018).
--
-- Locks the three tables for an instant, and rewrites none. Older code runs on, as Postgres asks policies of nobody who owns
-- the table.

-- No UPDATE and no DELETE: what was entered stays as it is.
GRANT SELECT, INSERT ON audit_log TO punctual_tenant;
-- What encrypts a secret, and the secret, may be stored and not read.
GRANT SELECT (id, tenant_id, created_at, expires_at), INSERT (id, tenant_id, key_id, ciphertext, created_at),
  UPDATE (expires_at), DELETE ON signing_secrets TO punctual_tenant;

DO $$
DECLARE
  of_table text;
BEGIN
  FOREACH of_table IN ARRAY ARRAY['audit_log', 'signing_secrets'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', of_table);
    -- IS NOT DISTINCT FROM: see 0003.
    EXECUTE format('CREATE POLICY of_tenant ON %I TO punctual_tenant
      USING (tenant_id IS NOT DISTINCT FROM (SELECT current_setting(''punctual.tenant_id'')::uuid))', of_table);
  END LOOP;
END
$$;

-- For conditions on the targets of a change: see `own_timers` in 0003.
CREATE VIEW own_audit_log AS
  SELECT * FROM audit_log WHERE tenant_id = current_setting('punctual.tenant_id')::uuid;
GRANT SELECT ON own_audit_log TO punctual_tenant;

-- How many secrets a tenant has in plain text, for those who may not see them. To lock a row takes the right to update some
-- column of it, and this one can be set to nothing.
ALTER TABLE tenants ADD COLUMN plain_secrets integer GENERATED ALWAYS AS (cardinality(signing_secrets)) VIRTUAL;
GRANT SELECT (plain_secrets), UPDATE (plain_secrets) ON tenants TO punctual_tenant;
