-- Bounds of tenants: what of the rows each may see and change (row-level security), how many requests it may send, and how
-- many timers it may hold (docs/decisions/0018, 0022).
--
-- Locks each table for an instant, and rewrites none. Older code runs on: it never takes the role, and Postgres asks
-- policies of nobody who owns the table. Whoever reads the tables as another user (reports, say) finds them empty from
-- now on, unless that user has BYPASSRLS.

-- Roles belong to the whole server, on which other databases may have made this one, perhaps at this very moment.
DO $$
DECLARE
  how_to constant text := format(
    'As a superuser: CREATE ROLE punctual_tenant NOLOGIN; GRANT punctual_tenant TO %I; then migrate again.', current_user);
BEGIN
  IF to_regrole('punctual_tenant') IS NULL THEN
    BEGIN
      CREATE ROLE punctual_tenant NOLOGIN;
    EXCEPTION
      WHEN duplicate_object OR unique_violation THEN NULL;
      WHEN insufficient_privilege THEN
        RAISE EXCEPTION 'The role punctual_tenant is missing, and % may not create roles. %', current_user, how_to
          USING ERRCODE = 'insufficient_privilege';
    END;
  END IF;
  IF NOT pg_has_role('punctual_tenant', 'SET') THEN
    BEGIN
      EXECUTE format('GRANT punctual_tenant TO %I WITH INHERIT FALSE, SET TRUE', current_user);
    EXCEPTION
      WHEN unique_violation THEN NULL;
      WHEN insufficient_privilege THEN
        RAISE EXCEPTION '% may not act as the role punctual_tenant. %', current_user, how_to
          USING ERRCODE = 'insufficient_privilege';
    END;
  END IF;
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO punctual_tenant', current_schema());
END
$$;

-- What the api's statements for one tenant need, and no more. Partitions have no grants of their own: they are reached
-- through their parents, whose policies apply.
GRANT SELECT, INSERT, UPDATE, DELETE ON timers TO punctual_tenant;
GRANT SELECT, INSERT ON finished_timers, attempts, workflow_versions, ledger_entries TO punctual_tenant;
-- UPDATE is for the lock of a redrive.
GRANT SELECT, UPDATE, DELETE ON dead_letters TO punctual_tenant;
GRANT SELECT, INSERT, UPDATE ON runs, workflows, idempotency_keys TO punctual_tenant;
GRANT SELECT, INSERT, DELETE ON external_ids TO punctual_tenant;
GRANT SELECT ON ledger_totals TO punctual_tenant;
-- Neither the hashes of keys nor the secrets of tenants.
GRANT SELECT (id, tenant_id, name, scope, prefix, created_at, revoked_at), INSERT, UPDATE (revoked_at)
  ON api_keys TO punctual_tenant;
GRANT SELECT (id) ON tenants TO punctual_tenant;

-- IS NOT DISTINCT FROM is no condition for an index: with `=` the planner would take the lists' indexes, and walk through
-- a tenant, for statements that name their rows by id (see `cancel_timers`). The sub-select is run once a statement, not
-- once a row. Without a tenant the setting is missing or empty, and the statement fails.
DO $$
DECLARE
  of_table text;
BEGIN
  FOREACH of_table IN ARRAY ARRAY['timers', 'finished_timers', 'dead_letters', 'attempts', 'runs', 'workflows', 'external_ids',
    'idempotency_keys', 'ledger_entries', 'ledger_totals', 'api_keys'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', of_table);
    EXECUTE format('CREATE POLICY of_tenant ON %I TO punctual_tenant
      USING (tenant_id IS NOT DISTINCT FROM (SELECT current_setting(''punctual.tenant_id'')::uuid))', of_table);
  END LOOP;
END
$$;
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON tenants TO punctual_tenant
  USING (id IS NOT DISTINCT FROM (SELECT current_setting('punctual.tenant_id')::uuid));
-- The policy of `workflows` decides which of them are there.
ALTER TABLE workflow_versions ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON workflow_versions TO punctual_tenant
  USING (EXISTS (SELECT FROM workflows AS w WHERE w.id = workflow_id));

-- The live timers of the tenant, for conditions that no index serves behind a policy (those on labels): a plain view keeps
-- nothing back. It reads with the rights of its owner, so it has the condition in itself.
CREATE VIEW own_timers AS
  SELECT * FROM timers WHERE tenant_id = current_setting('punctual.tenant_id')::uuid;
GRANT SELECT ON own_timers TO punctual_tenant;

-- NULL: what the api's settings say for all tenants.
ALTER TABLE tenants
  ADD COLUMN requests_per_second_max integer CHECK (requests_per_second_max > 0),
  ADD COLUMN live_timers_max bigint CHECK (live_timers_max >= 0);
