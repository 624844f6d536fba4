-- What was erased of late, until the answers kept for idempotency keys do not show it any more (docs/decisions/0041).
--
-- Adds a table. Code of before runs on, and repeats such an answer as long as it is kept: so stop apis of before first.

CREATE TABLE erasures (
  tenant_id uuid NOT NULL,
  -- A run, or a timer without one.
  target_id uuid NOT NULL,
  erased_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, target_id)
);

ALTER TABLE erasures ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON erasures TO punctual_tenant
  USING (tenant_id IS NOT DISTINCT FROM (SELECT current_setting('punctual.tenant_id')::uuid));
GRANT SELECT, INSERT ON erasures TO punctual_tenant;
