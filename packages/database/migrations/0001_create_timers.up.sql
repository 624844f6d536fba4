-- The first schema. It locks nothing that exists; there is no older code to run beside it.

CREATE TYPE timer_state AS ENUM ('scheduled', 'running', 'paused', 'succeeded', 'dead', 'cancelled', 'skipped');
CREATE TYPE attempt_outcome AS ENUM ('succeeded', 'retryable', 'permanent', 'timedOut', 'blocked', 'lost');

-- One row: what was decided at install and can not change without moving every timer.
CREATE TABLE installation (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  partition_count smallint NOT NULL CHECK (partition_count BETWEEN 1 AND 1024),
  created_at timestamptz(3) NOT NULL DEFAULT clock_timestamp()
);
-- `migrate` sets the variable from PARTITION_COUNT; what it says counts at the first migration only.
INSERT INTO installation (partition_count)
  VALUES (coalesce(nullif(current_setting('punctual.partition_count', true), ''), '64')::smallint);

CREATE TABLE tenants (
  id uuid PRIMARY KEY,
  name text NOT NULL,
  -- Standard Webhooks secrets (`whsec_…`), the current one first; empty: requests are not signed.
  signing_secrets text[] NOT NULL DEFAULT '{}',
  created_at timestamptz(3) NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO tenants (id, name) VALUES ('00000000-0000-7000-8000-000000000001', 'default');

CREATE TABLE api_keys (
  id uuid PRIMARY KEY,
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  name text NOT NULL,
  scope text NOT NULL CHECK (scope IN ('read', 'write', 'admin')),
  prefix text NOT NULL,
  key_hash bytea NOT NULL UNIQUE,
  created_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  revoked_at timestamptz(3)
);
CREATE INDEX api_keys_list ON api_keys (tenant_id, created_at, id);

CREATE TABLE workflows (
  id uuid PRIMARY KEY,
  tenant_id uuid NOT NULL REFERENCES tenants (id),
  name text NOT NULL,
  status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'paused', 'archived')),
  version integer NOT NULL DEFAULT 1,
  labels jsonb,
  created_at timestamptz(3) NOT NULL,
  updated_at timestamptz(3) NOT NULL
);
CREATE INDEX workflows_list ON workflows (tenant_id, created_at, id);

-- Never updated: a run keeps the version it began with, and readers may cache a row for ever.
CREATE TABLE workflow_versions (
  workflow_id uuid NOT NULL REFERENCES workflows (id),
  version integer NOT NULL,
  name text NOT NULL,
  time_zone text NOT NULL,
  tasks json NOT NULL,
  created_at timestamptz(3) NOT NULL,
  PRIMARY KEY (workflow_id, version)
);

-- `task_states` holds one letter a task, in the order of the workflow version's tasks (domain/workflow).
-- A run is updated at each of its outcomes; no such update touches an indexed column, and the
-- fill factor leaves room on the page, so these updates are HOT.
CREATE TABLE runs (
  id uuid PRIMARY KEY,
  tenant_id uuid NOT NULL,
  workflow_id uuid NOT NULL,
  workflow_version integer NOT NULL,
  partition smallint NOT NULL,
  status text NOT NULL CHECK (status IN ('running', 'paused', 'succeeded', 'failed', 'cancelled')),
  task_states text NOT NULL,
  input json,
  external_id text,
  labels jsonb,
  created_at timestamptz(3) NOT NULL,
  finished_at timestamptz(3)
) WITH (fillfactor = 80);
CREATE INDEX runs_list ON runs (tenant_id, created_at, id);
CREATE INDEX runs_of_workflow ON runs (workflow_id, created_at, id);
-- Few of all runs: what the ledger looks through for those that can not end.
CREATE INDEX runs_running ON runs (created_at) WHERE status = 'running';

-- Live timers only. `wake_at` is the next instant at which a scheduler must look at the row:
-- scheduled, its due time (or that of its retry); running, the end of its lease; paused, infinity.
-- `created_at` is also the anchor from which its delay counts.
-- `wake_at` has milliseconds so that a scheduler's cursor, which is a JavaScript number, is exact.
CREATE TABLE timers (
  id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  run_id uuid,
  workflow_id uuid,
  wake_at timestamptz(3) NOT NULL,
  due_at timestamptz(3) NOT NULL,
  created_at timestamptz(3) NOT NULL,
  version integer NOT NULL DEFAULT 1,
  workflow_version integer,
  timeout_ms integer,
  state timer_state NOT NULL DEFAULT 'scheduled',
  partition smallint NOT NULL,
  attempt smallint NOT NULL DEFAULT 0,
  -- How often in a row this attempt's lease lapsed without an outcome.
  lost smallint NOT NULL DEFAULT 0,
  task_key text,
  time_zone text,
  delay json,
  -- NULL for a task of a run: its action, retry and time-out stand in the workflow version.
  action json,
  payload json,
  retry json,
  external_id text,
  labels jsonb,
  CONSTRAINT timers_pkey PRIMARY KEY (id)
) WITH (
  -- Dead rows are what slows a queue in Postgres: vacuum early, and without pauses.
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_threshold = 2000,
  autovacuum_vacuum_insert_scale_factor = 0.2,
  autovacuum_analyze_scale_factor = 0.05,
  autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX timers_wake ON timers (partition, wake_at, id);
CREATE INDEX timers_list ON timers (tenant_id, due_at, id);
CREATE INDEX timers_of_run ON timers (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX timers_labels ON timers USING gin (labels jsonb_path_ops) WHERE labels IS NOT NULL;

-- Timers that ended. The last attempt stands in the row itself, so the common timer, delivered at
-- its first attempt, leaves one row behind. Days are dropped whole at retention.
CREATE TABLE finished_timers (
  id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  run_id uuid,
  workflow_id uuid,
  due_at timestamptz(3) NOT NULL,
  created_at timestamptz(3) NOT NULL,
  finished_at timestamptz(3) NOT NULL,
  started_at timestamptz(3),
  lateness_ms double precision,
  version integer NOT NULL,
  workflow_version integer,
  timeout_ms integer,
  duration_ms integer,
  state timer_state NOT NULL,
  outcome attempt_outcome,
  partition smallint NOT NULL,
  attempt smallint NOT NULL,
  http_status smallint,
  task_key text,
  time_zone text,
  delay json,
  action json,
  payload json,
  retry json,
  external_id text,
  labels jsonb,
  error text,
  response_body text
) PARTITION BY RANGE (finished_at);
CREATE INDEX finished_timers_id ON finished_timers (id);
CREATE INDEX finished_timers_list ON finished_timers (tenant_id, due_at, id);
CREATE INDEX finished_timers_of_run ON finished_timers (run_id) WHERE run_id IS NOT NULL;

-- Same columns: a dead letter is a finished timer that waits for a person, so no day's end drops it.
CREATE TABLE dead_letters (LIKE finished_timers);
ALTER TABLE dead_letters ADD PRIMARY KEY (id);
CREATE INDEX dead_letters_list ON dead_letters (tenant_id, due_at, id);
CREATE INDEX dead_letters_of_run ON dead_letters (run_id) WHERE run_id IS NOT NULL;

-- Attempts other than a timer's last.
CREATE TABLE attempts (
  timer_id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  started_at timestamptz(3) NOT NULL,
  finished_at timestamptz(3) NOT NULL,
  lateness_ms double precision,
  duration_ms integer,
  outcome attempt_outcome NOT NULL,
  attempt smallint NOT NULL,
  http_status smallint,
  error text,
  response_body text
) PARTITION BY RANGE (finished_at);
CREATE INDEX attempts_of_timer ON attempts (timer_id, finished_at);

-- Nothing may fail because a day's partition is missing; the keeper that makes days ahead keeps these empty.
CREATE TABLE finished_timers_default PARTITION OF finished_timers DEFAULT;
CREATE TABLE attempts_default PARTITION OF attempts DEFAULT;
DO $$
DECLARE
  day date;
  parent text;
BEGIN
  FOR offset_days IN 0..7 LOOP
    day := (clock_timestamp() AT TIME ZONE 'UTC')::date + offset_days;
    FOREACH parent IN ARRAY ARRAY['finished_timers', 'attempts'] LOOP
      EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', parent || to_char(day, '_YYYYMMDD'), parent,
        to_char(day, 'YYYY-MM-DD') || ' 00:00:00+00', to_char(day + 1, 'YYYY-MM-DD') || ' 00:00:00+00');
    END LOOP;
  END LOOP;
END
$$;

CREATE TABLE external_ids (
  tenant_id uuid NOT NULL,
  kind text NOT NULL CHECK (kind IN ('timer', 'run')),
  external_id text NOT NULL,
  target_id uuid NOT NULL,
  created_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, kind, external_id)
);

CREATE TABLE idempotency_keys (
  tenant_id uuid NOT NULL,
  key text NOT NULL,
  request_hash bytea NOT NULL,
  status smallint NOT NULL,
  headers json NOT NULL,
  body text NOT NULL,
  created_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

-- The ledger (guarantee 1). Every statement that creates or ends timers appends what it did, in the
-- same transaction; nobody updates a shared row, so nobody waits. Totals are folded now and then.
CREATE TABLE ledger_entries (
  tenant_id uuid NOT NULL,
  created integer NOT NULL DEFAULT 0,
  succeeded integer NOT NULL DEFAULT 0,
  dead integer NOT NULL DEFAULT 0,
  cancelled integer NOT NULL DEFAULT 0,
  skipped integer NOT NULL DEFAULT 0,
  -- Of the dead ones, those that somebody moved to the history: the others must all be in `dead_letters`.
  dismissed integer NOT NULL DEFAULT 0,
  partition smallint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000);

CREATE TABLE ledger_totals (
  tenant_id uuid NOT NULL,
  partition smallint NOT NULL,
  created bigint NOT NULL DEFAULT 0,
  succeeded bigint NOT NULL DEFAULT 0,
  dead bigint NOT NULL DEFAULT 0,
  cancelled bigint NOT NULL DEFAULT 0,
  skipped bigint NOT NULL DEFAULT 0,
  dismissed bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant_id, partition)
);

-- Who runs: schedulers share the partitions among those that beat; the API lists both kinds.
CREATE TABLE service_instances (
  id uuid PRIMARY KEY,
  role text NOT NULL CHECK (role IN ('api', 'scheduler', 'worker')),
  host text NOT NULL,
  pid integer NOT NULL,
  version text NOT NULL,
  started_at timestamptz(3) NOT NULL,
  heartbeat_at timestamptz(3) NOT NULL,
  details jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE partition_leases (
  partition smallint PRIMARY KEY,
  owner_id uuid,
  epoch bigint NOT NULL DEFAULT 0,
  expires_at timestamptz(3) NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50);
INSERT INTO partition_leases (partition)
  SELECT generate_series(0, partition_count - 1) FROM installation;
