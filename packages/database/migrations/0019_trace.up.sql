-- Traces (docs/decisions/0039): by which span a timer or a run was created, of those that are traced and no others.
--
-- A new table; locks nothing. Older code runs on.
CREATE TABLE trace_contexts (
  -- A timer, or a run, whose tasks find it by that.
  target_id uuid NOT NULL PRIMARY KEY,
  tenant_id uuid NOT NULL,
  created_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  -- As W3C writes it.
  traceparent text COLLATE "C" NOT NULL
);
CREATE INDEX trace_contexts_age ON trace_contexts (created_at);

ALTER TABLE trace_contexts ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON trace_contexts TO punctual_tenant
  USING (tenant_id IS NOT DISTINCT FROM (SELECT current_setting('punctual.tenant_id')::uuid));
GRANT SELECT, INSERT, DELETE ON trace_contexts TO punctual_tenant;
