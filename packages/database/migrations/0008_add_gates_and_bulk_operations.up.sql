-- Pauses, gates and bulk operations (docs/decisions/0026). Gates hold back a whole workflow, queue or origin by one row;
-- bulk operations change any number of timers in portions.
--
-- Adds columns without rewriting a table. The partial index reads `timers` once, a few seconds for ten million rows, during
-- which nothing can write to it. Code of before runs on and knows nothing of gates: pauses are exact when the last worker
-- of that version is gone. It needs no other migration than 0006.

-- What holds a paused timer back: `workflow:<id>`, `queue:<name>`, `origin:<origin>` or `run`; null when somebody paused the timer by
-- itself. `paused_at`: since when. Start and outcome touch neither, so both stay HOT updates.
ALTER TABLE timers ADD COLUMN parked_for text, ADD COLUMN paused_at timestamptz(3);
CREATE INDEX timers_parked ON timers (tenant_id, parked_for, due_at, id) WHERE parked_for IS NOT NULL;
ALTER TABLE runs ADD COLUMN paused_at timestamptz(3);

CREATE TABLE gates (
  tenant_id uuid NOT NULL,
  kind text NOT NULL CHECK (kind IN ('workflow', 'queue', 'origin')),
  -- The workflow's id, the queue's name, or scheme, host and port.
  name text NOT NULL,
  -- Nothing begins while it is set.
  paused_at timestamptz(3),
  -- Of a workflow: what was created before it ends as cancelled.
  cancelled_before timestamptz(3),
  PRIMARY KEY (tenant_id, kind, name),
  CHECK (paused_at IS NOT NULL OR cancelled_before IS NOT NULL)
);
-- Rises with each change of a gate. Workers compare it with what they know.
CREATE TABLE gates_epoch (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  epoch bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
INSERT INTO gates_epoch DEFAULT VALUES;
-- Of a worker: up to which epoch it heeds the gates. Null: of a version that does not.
ALTER TABLE service_instances ADD COLUMN gates_epoch bigint;

CREATE TABLE bulk_operations (
  id uuid PRIMARY KEY,
  tenant_id uuid NOT NULL,
  action text NOT NULL,
  status text NOT NULL CHECK (status IN ('running', 'paused', 'succeeded', 'failed', 'aborted')),
  -- What one target is: a timer, a dead letter or a run.
  target text NOT NULL CHECK (target IN ('timer', 'deadLetter', 'run')),
  -- What was asked for, as it is shown; and how it is carried out.
  request json NOT NULL,
  plan json NOT NULL,
  -- Whether all targets are known, and `matched` is how many they are.
  is_listed boolean NOT NULL DEFAULT false,
  matched integer NOT NULL DEFAULT 0,
  done integer NOT NULL DEFAULT 0,
  failed integer NOT NULL DEFAULT 0,
  samples json,
  rate_per_second double precision,
  -- When, by the rate, the next portion may begin.
  next_at timestamptz(3) NOT NULL,
  -- By whom and in which request, for the audit log.
  actor text NOT NULL,
  key_id uuid,
  request_id text NOT NULL,
  created_at timestamptz(3) NOT NULL,
  finished_at timestamptz(3)
);
CREATE INDEX bulk_operations_list ON bulk_operations (tenant_id, created_at, id);
CREATE INDEX bulk_operations_running ON bulk_operations (created_at) WHERE finished_at IS NULL;
-- What is still to be done of an operation. A portion goes in the transaction that does it.
CREATE TABLE bulk_portions (
  operation_id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  number integer NOT NULL,
  target_ids uuid[] NOT NULL,
  PRIMARY KEY (operation_id, number)
);
CREATE TABLE bulk_failures (
  operation_id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  target_id uuid NOT NULL,
  code text NOT NULL,
  detail text NOT NULL,
  PRIMARY KEY (operation_id, target_id)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON gates TO punctual_tenant;
GRANT SELECT, INSERT, UPDATE ON bulk_operations TO punctual_tenant;
GRANT SELECT, INSERT, DELETE ON bulk_portions TO punctual_tenant;
GRANT SELECT ON bulk_failures TO punctual_tenant;
DO $$
DECLARE
  of_table text;
BEGIN
  FOREACH of_table IN ARRAY ARRAY['gates', 'bulk_operations', 'bulk_portions', 'bulk_failures'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', of_table);
    -- IS NOT DISTINCT FROM: see 0003.
    EXECUTE format('CREATE POLICY of_tenant ON %I TO punctual_tenant
      USING (tenant_id IS NOT DISTINCT FROM (SELECT current_setting(''punctual.tenant_id'')::uuid))', of_table);
  END LOOP;
END
$$;
