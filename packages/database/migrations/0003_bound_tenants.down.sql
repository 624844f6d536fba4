-- The role stays: other databases of the server may use it.
ALTER TABLE tenants DROP COLUMN requests_per_second_max, DROP COLUMN live_timers_max;
DROP VIEW own_timers;
DO $$
DECLARE
  of_table text;
BEGIN
  FOREACH of_table IN ARRAY ARRAY['timers', 'finished_timers', 'dead_letters', 'attempts', 'runs', 'workflows', 'workflow_versions',
    'external_ids', 'idempotency_keys', 'ledger_entries', 'ledger_totals', 'api_keys', 'tenants'] LOOP
    EXECUTE format('DROP POLICY of_tenant ON %I', of_table);
    EXECUTE format('ALTER TABLE %I DISABLE ROW LEVEL SECURITY', of_table);
    EXECUTE format('REVOKE ALL ON %I FROM punctual_tenant', of_table);
  END LOOP;
  EXECUTE format('REVOKE USAGE ON SCHEMA %I FROM punctual_tenant', current_schema());
END
$$;
