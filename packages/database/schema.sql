-- Made by describe-schema.ts from the catalog after all migrations; not to be edited.

CREATE TYPE attempt_outcome AS ENUM ('succeeded', 'retryable', 'permanent', 'timedOut', 'blocked', 'lost');
CREATE TYPE timer_state AS ENUM ('scheduled', 'running', 'paused', 'succeeded', 'dead', 'cancelled', 'skipped');

CREATE TABLE api_keys (
  id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  name text NOT NULL,
  scope text NOT NULL,
  prefix text NOT NULL,
  key_hash bytea NOT NULL,
  created_at timestamp(3) with time zone NOT NULL DEFAULT clock_timestamp(),
  revoked_at timestamp(3) with time zone,
  CONSTRAINT api_keys_key_hash_key UNIQUE (key_hash),
  CONSTRAINT api_keys_pkey PRIMARY KEY (id),
  CONSTRAINT api_keys_scope_check CHECK ((scope = ANY (ARRAY['read'::text, 'write'::text, 'admin'::text]))),
  CONSTRAINT api_keys_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(id) ON DELETE CASCADE
);
CREATE INDEX api_keys_list ON public.api_keys USING btree (tenant_id, created_at, id);
ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON api_keys FOR ALL TO punctual_tenant
  USING (NOT (tenant_id IS DISTINCT FROM ( SELECT (current_setting('punctual.tenant_id'::text))::uuid AS current_setting)));

CREATE TABLE attempts (
  timer_id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  started_at timestamp(3) with time zone NOT NULL,
  finished_at timestamp(3) with time zone NOT NULL,
  lateness_ms double precision,
  duration_ms integer,
  outcome attempt_outcome NOT NULL,
  attempt smallint NOT NULL,
  http_status smallint,
  error text,
  response_body text
) PARTITION BY RANGE (finished_at);
CREATE INDEX attempts_of_timer ON ONLY public.attempts USING btree (timer_id, finished_at);
ALTER TABLE attempts ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON attempts FOR ALL TO punctual_tenant
  USING (NOT (tenant_id IS DISTINCT FROM ( SELECT (current_setting('punctual.tenant_id'::text))::uuid AS current_setting)));

CREATE TABLE attempts_default PARTITION OF attempts DEFAULT;

CREATE TABLE audit_log (
  id uuid NOT NULL DEFAULT uuidv7(),
  tenant_id uuid NOT NULL,
  key_id uuid,
  created_at timestamp(3) with time zone NOT NULL DEFAULT clock_timestamp(),
  actor text NOT NULL,
  action text NOT NULL,
  target_ids uuid[] NOT NULL,
  request_ids text NOT NULL,
  details json
) PARTITION BY RANGE (created_at);
CREATE INDEX audit_log_list ON ONLY public.audit_log USING btree (tenant_id, created_at);
CREATE INDEX audit_log_targets ON ONLY public.audit_log USING gin (target_ids) WHERE (action <> ALL (ARRAY['timer.create'::text, 'timers.batch.create'::text, 'run.create'::text, 'runs.batch.create'::text]));
ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON audit_log FOR ALL TO punctual_tenant
  USING (NOT (tenant_id IS DISTINCT FROM ( SELECT (current_setting('punctual.tenant_id'::text))::uuid AS current_setting)));

CREATE TABLE audit_log_default PARTITION OF audit_log DEFAULT;

CREATE TABLE bulk_failures (
  operation_id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  target_id uuid NOT NULL,
  code text NOT NULL,
  detail text NOT NULL,
  CONSTRAINT bulk_failures_pkey PRIMARY KEY (operation_id, target_id)
);
ALTER TABLE bulk_failures ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON bulk_failures FOR ALL TO punctual_tenant
  USING (NOT (tenant_id IS DISTINCT FROM ( SELECT (current_setting('punctual.tenant_id'::text))::uuid AS current_setting)));

CREATE TABLE bulk_operations (
  id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  action text NOT NULL,
  status text NOT NULL,
  target text NOT NULL,
  request json NOT NULL,
  plan json NOT NULL,
  is_listed boolean NOT NULL DEFAULT false,
  matched integer NOT NULL DEFAULT 0,
  done integer NOT NULL DEFAULT 0,
  failed integer NOT NULL DEFAULT 0,
  samples json,
  rate_per_second double precision,
  next_at timestamp(3) with time zone NOT NULL,
  actor text NOT NULL,
  key_id uuid,
  request_id text NOT NULL,
  created_at timestamp(3) with time zone NOT NULL,
  finished_at timestamp(3) with time zone,
  CONSTRAINT bulk_operations_pkey PRIMARY KEY (id),
  CONSTRAINT bulk_operations_status_check CHECK ((status = ANY (ARRAY['running'::text, 'paused'::text, 'succeeded'::text, 'failed'::text, 'aborted'::text]))),
  CONSTRAINT bulk_operations_target_check CHECK ((target = ANY (ARRAY['timer'::text, 'deadLetter'::text, 'run'::text])))
);
CREATE INDEX bulk_operations_list ON public.bulk_operations USING btree (tenant_id, created_at, id);
CREATE INDEX bulk_operations_running ON public.bulk_operations USING btree (created_at) WHERE (finished_at IS NULL);
ALTER TABLE bulk_operations ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON bulk_operations FOR ALL TO punctual_tenant
  USING (NOT (tenant_id IS DISTINCT FROM ( SELECT (current_setting('punctual.tenant_id'::text))::uuid AS current_setting)));

CREATE TABLE bulk_portions (
  operation_id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  number integer NOT NULL,
  target_ids uuid[] NOT NULL,
  CONSTRAINT bulk_portions_pkey PRIMARY KEY (operation_id, number)
);
ALTER TABLE bulk_portions ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON bulk_portions FOR ALL TO punctual_tenant
  USING (NOT (tenant_id IS DISTINCT FROM ( SELECT (current_setting('punctual.tenant_id'::text))::uuid AS current_setting)));

CREATE TABLE dead_letters (
  id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  run_id uuid,
  workflow_id uuid,
  due_at timestamp(3) with time zone NOT NULL,
  created_at timestamp(3) with time zone NOT NULL,
  finished_at timestamp(3) with time zone NOT NULL,
  started_at timestamp(3) with time zone,
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
  response_body text,
  path text,
  concurrency json,
  waits_for text,
  signal integer,
  priority smallint,
  CONSTRAINT dead_letters_pkey PRIMARY KEY (id)
);
CREATE INDEX dead_letters_list ON public.dead_letters USING btree (tenant_id, due_at, id);
CREATE INDEX dead_letters_of_run ON public.dead_letters USING btree (run_id) WHERE (run_id IS NOT NULL);
ALTER TABLE dead_letters ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON dead_letters FOR ALL TO punctual_tenant
  USING (NOT (tenant_id IS DISTINCT FROM ( SELECT (current_setting('punctual.tenant_id'::text))::uuid AS current_setting)));

CREATE TABLE erasures (
  tenant_id uuid NOT NULL,
  target_id uuid NOT NULL,
  erased_at timestamp(3) with time zone NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT erasures_pkey PRIMARY KEY (tenant_id, target_id)
);
ALTER TABLE erasures ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON erasures FOR ALL TO punctual_tenant
  USING (NOT (tenant_id IS DISTINCT FROM ( SELECT (current_setting('punctual.tenant_id'::text))::uuid AS current_setting)));

CREATE TABLE external_ids (
  tenant_id uuid NOT NULL,
  kind text NOT NULL,
  external_id text NOT NULL,
  target_id uuid NOT NULL,
  created_at timestamp(3) with time zone NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT external_ids_kind_check CHECK ((kind = ANY (ARRAY['timer'::text, 'run'::text]))),
  CONSTRAINT external_ids_pkey PRIMARY KEY (tenant_id, kind, external_id)
);
ALTER TABLE external_ids ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON external_ids FOR ALL TO punctual_tenant
  USING (NOT (tenant_id IS DISTINCT FROM ( SELECT (current_setting('punctual.tenant_id'::text))::uuid AS current_setting)));

CREATE TABLE finished_timers (
  id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  run_id uuid,
  workflow_id uuid,
  due_at timestamp(3) with time zone NOT NULL,
  created_at timestamp(3) with time zone NOT NULL,
  finished_at timestamp(3) with time zone NOT NULL,
  started_at timestamp(3) with time zone,
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
  response_body text,
  path text,
  concurrency json,
  waits_for text,
  signal integer,
  priority smallint
) PARTITION BY RANGE (finished_at);
CREATE INDEX finished_timers_id ON ONLY public.finished_timers USING btree (id);
CREATE INDEX finished_timers_list ON ONLY public.finished_timers USING btree (tenant_id, due_at, id);
CREATE INDEX finished_timers_of_run ON ONLY public.finished_timers USING btree (run_id) WHERE (run_id IS NOT NULL);
ALTER TABLE finished_timers ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON finished_timers FOR ALL TO punctual_tenant
  USING (NOT (tenant_id IS DISTINCT FROM ( SELECT (current_setting('punctual.tenant_id'::text))::uuid AS current_setting)));

CREATE TABLE finished_timers_default PARTITION OF finished_timers DEFAULT;

CREATE TABLE gates (
  tenant_id uuid NOT NULL,
  kind text NOT NULL,
  name text NOT NULL,
  paused_at timestamp(3) with time zone,
  cancelled_before timestamp(3) with time zone,
  CONSTRAINT gates_check CHECK (((paused_at IS NOT NULL) OR (cancelled_before IS NOT NULL))),
  CONSTRAINT gates_kind_check CHECK ((kind = ANY (ARRAY['workflow'::text, 'queue'::text, 'origin'::text]))),
  CONSTRAINT gates_pkey PRIMARY KEY (tenant_id, kind, name)
);
ALTER TABLE gates ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON gates FOR ALL TO punctual_tenant
  USING (NOT (tenant_id IS DISTINCT FROM ( SELECT (current_setting('punctual.tenant_id'::text))::uuid AS current_setting)));

CREATE TABLE gates_epoch (
  only_row boolean NOT NULL DEFAULT true,
  epoch bigint NOT NULL DEFAULT 0,
  CONSTRAINT gates_epoch_only_row_check CHECK (only_row),
  CONSTRAINT gates_epoch_pkey PRIMARY KEY (only_row)
) WITH (fillfactor=50);

CREATE TABLE idempotency_keys (
  tenant_id uuid NOT NULL,
  key text NOT NULL,
  request_hash bytea NOT NULL,
  status smallint NOT NULL,
  headers json NOT NULL,
  body text NOT NULL,
  created_at timestamp(3) with time zone NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT idempotency_keys_pkey PRIMARY KEY (tenant_id, key)
);
CREATE INDEX idempotency_keys_age ON public.idempotency_keys USING btree (created_at);
ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON idempotency_keys FOR ALL TO punctual_tenant
  USING (NOT (tenant_id IS DISTINCT FROM ( SELECT (current_setting('punctual.tenant_id'::text))::uuid AS current_setting)));

CREATE TABLE installation (
  only_row boolean NOT NULL DEFAULT true,
  partition_count smallint NOT NULL,
  created_at timestamp(3) with time zone NOT NULL DEFAULT clock_timestamp(),
  lease_key bytea NOT NULL DEFAULT (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
  CONSTRAINT installation_only_row_check CHECK (only_row),
  CONSTRAINT installation_partition_count_check CHECK (((partition_count >= 1) AND (partition_count <= 1024))),
  CONSTRAINT installation_pkey PRIMARY KEY (only_row)
);

CREATE TABLE lane_places (
  tenant_id uuid NOT NULL,
  lane text NOT NULL,
  timer_id uuid NOT NULL,
  CONSTRAINT lane_places_pkey PRIMARY KEY (tenant_id, lane, timer_id)
) WITH (autovacuum_vacuum_scale_factor=0.05, autovacuum_vacuum_threshold=1000);
CREATE INDEX lane_places_of_timer ON public.lane_places USING btree (timer_id);
ALTER TABLE lane_places ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON lane_places FOR ALL TO punctual_tenant
  USING (NOT (tenant_id IS DISTINCT FROM ( SELECT (current_setting('punctual.tenant_id'::text))::uuid AS current_setting)));

CREATE TABLE lanes (
  tenant_id uuid NOT NULL,
  name text NOT NULL,
  limit_max integer,
  rate_per_second double precision,
  used_until timestamp(6) with time zone,
  is_waiting boolean NOT NULL DEFAULT false,
  looked_at timestamp(3) with time zone NOT NULL DEFAULT clock_timestamp(),
  is_limit boolean NOT NULL DEFAULT false,
  CONSTRAINT lanes_limit_max_check CHECK ((limit_max > 0)),
  CONSTRAINT lanes_pkey PRIMARY KEY (tenant_id, name),
  CONSTRAINT lanes_rate_per_second_check CHECK ((rate_per_second > (0)::double precision))
) WITH (fillfactor=70, autovacuum_vacuum_scale_factor=0.05, autovacuum_vacuum_threshold=1000);
CREATE INDEX lanes_limits ON public.lanes USING btree (tenant_id, name) WHERE is_limit;
CREATE INDEX lanes_looked ON public.lanes USING btree (is_waiting, looked_at);
ALTER TABLE lanes ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON lanes FOR ALL TO punctual_tenant
  USING (NOT (tenant_id IS DISTINCT FROM ( SELECT (current_setting('punctual.tenant_id'::text))::uuid AS current_setting)));

CREATE TABLE ledger_entries (
  tenant_id uuid NOT NULL,
  created integer NOT NULL DEFAULT 0,
  succeeded integer NOT NULL DEFAULT 0,
  dead integer NOT NULL DEFAULT 0,
  cancelled integer NOT NULL DEFAULT 0,
  skipped integer NOT NULL DEFAULT 0,
  dismissed integer NOT NULL DEFAULT 0,
  partition smallint NOT NULL
) WITH (autovacuum_vacuum_scale_factor=0.05, autovacuum_vacuum_threshold=5000);
ALTER TABLE ledger_entries ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON ledger_entries FOR ALL TO punctual_tenant
  USING (NOT (tenant_id IS DISTINCT FROM ( SELECT (current_setting('punctual.tenant_id'::text))::uuid AS current_setting)));

CREATE TABLE ledger_totals (
  tenant_id uuid NOT NULL,
  partition smallint NOT NULL,
  created bigint NOT NULL DEFAULT 0,
  succeeded bigint NOT NULL DEFAULT 0,
  dead bigint NOT NULL DEFAULT 0,
  cancelled bigint NOT NULL DEFAULT 0,
  skipped bigint NOT NULL DEFAULT 0,
  dismissed bigint NOT NULL DEFAULT 0,
  CONSTRAINT ledger_totals_pkey PRIMARY KEY (tenant_id, partition)
);
ALTER TABLE ledger_totals ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON ledger_totals FOR ALL TO punctual_tenant
  USING (NOT (tenant_id IS DISTINCT FROM ( SELECT (current_setting('punctual.tenant_id'::text))::uuid AS current_setting)));

CREATE TABLE partition_leases (
  partition smallint NOT NULL,
  owner_id uuid,
  epoch bigint NOT NULL DEFAULT 0,
  expires_at timestamp(3) with time zone NOT NULL DEFAULT '-infinity'::timestamp with time zone,
  CONSTRAINT partition_leases_pkey PRIMARY KEY (partition)
) WITH (fillfactor=50);

CREATE TABLE pull_workers (
  id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  queue text NOT NULL,
  worker_id text NOT NULL,
  first_seen_at timestamp(3) with time zone NOT NULL,
  last_seen_at timestamp(3) with time zone NOT NULL,
  CONSTRAINT pull_workers_pkey PRIMARY KEY (id),
  CONSTRAINT pull_workers_tenant_id_queue_worker_id_key UNIQUE (tenant_id, queue, worker_id)
);
CREATE INDEX pull_workers_seen ON public.pull_workers USING btree (tenant_id, last_seen_at);
ALTER TABLE pull_workers ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON pull_workers FOR ALL TO punctual_tenant
  USING (NOT (tenant_id IS DISTINCT FROM ( SELECT (current_setting('punctual.tenant_id'::text))::uuid AS current_setting)));

CREATE TABLE run_review (
  only_row boolean NOT NULL DEFAULT true,
  ended_at timestamp(3) with time zone,
  reviewed integer NOT NULL DEFAULT 0,
  unmendable integer NOT NULL DEFAULT 0,
  mended bigint NOT NULL DEFAULT 0,
  tasks_lost bigint NOT NULL DEFAULT 0,
  CONSTRAINT run_review_only_row_check CHECK (only_row),
  CONSTRAINT run_review_pkey PRIMARY KEY (only_row)
) WITH (fillfactor=50);

CREATE TABLE run_signals (
  run_id uuid NOT NULL,
  number integer NOT NULL,
  tenant_id uuid NOT NULL,
  name text NOT NULL,
  payload json NOT NULL,
  created_at timestamp(3) with time zone NOT NULL DEFAULT clock_timestamp(),
  delivered_at timestamp(3) with time zone,
  CONSTRAINT run_signals_pkey PRIMARY KEY (run_id, number)
);
ALTER TABLE run_signals ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON run_signals FOR ALL TO punctual_tenant
  USING (NOT (tenant_id IS DISTINCT FROM ( SELECT (current_setting('punctual.tenant_id'::text))::uuid AS current_setting)));

CREATE TABLE runs (
  id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  workflow_id uuid NOT NULL,
  workflow_version integer NOT NULL,
  partition smallint NOT NULL,
  status text NOT NULL,
  task_states text NOT NULL,
  input json,
  external_id text,
  labels jsonb,
  created_at timestamp(3) with time zone NOT NULL,
  finished_at timestamp(3) with time zone,
  paused_at timestamp(3) with time zone,
  CONSTRAINT runs_pkey PRIMARY KEY (id),
  CONSTRAINT runs_status_check CHECK ((status = ANY (ARRAY['running'::text, 'paused'::text, 'succeeded'::text, 'failed'::text, 'cancelled'::text])))
) WITH (fillfactor=80);
CREATE INDEX runs_list ON public.runs USING btree (tenant_id, created_at, id);
CREATE INDEX runs_of_workflow ON public.runs USING btree (workflow_id, created_at, id);
CREATE INDEX runs_running ON public.runs USING btree (created_at) WHERE (status = 'running'::text);
ALTER TABLE runs ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON runs FOR ALL TO punctual_tenant
  USING (NOT (tenant_id IS DISTINCT FROM ( SELECT (current_setting('punctual.tenant_id'::text))::uuid AS current_setting)));

CREATE TABLE schedules (
  id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  name text,
  status text NOT NULL,
  version integer NOT NULL DEFAULT 1,
  spec json NOT NULL,
  workflow_id uuid,
  input json,
  action json,
  payload json,
  retry json,
  timeout_ms integer,
  labels jsonb,
  anchor_at timestamp(3) with time zone NOT NULL,
  handled_at timestamp(3) with time zone NOT NULL,
  waiting double precision[] NOT NULL DEFAULT '{}'::double precision[],
  next_at timestamp(3) with time zone,
  next_due_at timestamp(3) with time zone,
  timer_id uuid,
  last_target_id uuid,
  last_begun_at timestamp(3) with time zone,
  last_occurrence_at timestamp(3) with time zone,
  failure json,
  live_timers_max integer,
  created_at timestamp(3) with time zone NOT NULL,
  updated_at timestamp(3) with time zone NOT NULL,
  priority smallint,
  CONSTRAINT schedules_check CHECK (((workflow_id IS NULL) <> (action IS NULL))),
  CONSTRAINT schedules_check1 CHECK (((status = 'active'::text) = (timer_id IS NOT NULL))),
  CONSTRAINT schedules_pkey PRIMARY KEY (id),
  CONSTRAINT schedules_priority_check CHECK (((priority >= 1) AND (priority <= 9))),
  CONSTRAINT schedules_status_check CHECK ((status = ANY (ARRAY['active'::text, 'paused'::text, 'ended'::text])))
);
CREATE INDEX schedules_list ON public.schedules USING btree (tenant_id, created_at, id);
ALTER TABLE schedules ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON schedules FOR ALL TO punctual_tenant
  USING (NOT (tenant_id IS DISTINCT FROM ( SELECT (current_setting('punctual.tenant_id'::text))::uuid AS current_setting)));

CREATE TABLE service_instances (
  id uuid NOT NULL,
  role text NOT NULL,
  host text NOT NULL,
  pid integer NOT NULL,
  version text NOT NULL,
  started_at timestamp(3) with time zone NOT NULL,
  heartbeat_at timestamp(3) with time zone NOT NULL,
  details jsonb NOT NULL DEFAULT '{}'::jsonb,
  gates_epoch bigint,
  drain_requested_at timestamp(3) with time zone,
  CONSTRAINT service_instances_pkey PRIMARY KEY (id),
  CONSTRAINT service_instances_role_check CHECK ((role = ANY (ARRAY['api'::text, 'scheduler'::text, 'worker'::text])))
);

CREATE TABLE signing_secrets (
  id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  key_id text NOT NULL,
  ciphertext bytea NOT NULL,
  created_at timestamp(3) with time zone NOT NULL,
  expires_at timestamp(3) with time zone,
  CONSTRAINT signing_secrets_pkey PRIMARY KEY (id),
  CONSTRAINT signing_secrets_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(id) ON DELETE CASCADE
);
CREATE INDEX signing_secrets_list ON public.signing_secrets USING btree (tenant_id, created_at, id);
ALTER TABLE signing_secrets ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON signing_secrets FOR ALL TO punctual_tenant
  USING (NOT (tenant_id IS DISTINCT FROM ( SELECT (current_setting('punctual.tenant_id'::text))::uuid AS current_setting)));

CREATE TABLE task_outputs (
  run_id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  task_key text NOT NULL,
  path text NOT NULL,
  output json NOT NULL,
  created_at timestamp(3) with time zone NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT task_outputs_pkey PRIMARY KEY (run_id, task_key, path)
);
ALTER TABLE task_outputs ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON task_outputs FOR ALL TO punctual_tenant
  USING (NOT (tenant_id IS DISTINCT FROM ( SELECT (current_setting('punctual.tenant_id'::text))::uuid AS current_setting)));

CREATE TABLE tenants (
  id uuid NOT NULL,
  name text NOT NULL,
  signing_secrets text[] NOT NULL DEFAULT '{}'::text[],
  created_at timestamp(3) with time zone NOT NULL DEFAULT clock_timestamp(),
  requests_per_second_max integer,
  live_timers_max bigint,
  plain_secrets integer GENERATED ALWAYS AS (cardinality(signing_secrets)) VIRTUAL,
  retention_days integer,
  CONSTRAINT tenants_live_timers_max_check CHECK ((live_timers_max >= 0)),
  CONSTRAINT tenants_pkey PRIMARY KEY (id),
  CONSTRAINT tenants_requests_per_second_max_check CHECK ((requests_per_second_max > 0)),
  CONSTRAINT tenants_retention_days_check CHECK (((retention_days >= 1) AND (retention_days <= 3650)))
);
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON tenants FOR ALL TO punctual_tenant
  USING (NOT (id IS DISTINCT FROM ( SELECT (current_setting('punctual.tenant_id'::text))::uuid AS current_setting)));

CREATE TABLE timers (
  id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  run_id uuid,
  workflow_id uuid,
  wake_at timestamp(3) with time zone NOT NULL,
  due_at timestamp(3) with time zone NOT NULL,
  created_at timestamp(3) with time zone NOT NULL,
  version integer NOT NULL DEFAULT 1,
  workflow_version integer,
  timeout_ms integer,
  state timer_state NOT NULL DEFAULT 'scheduled'::timer_state,
  partition smallint NOT NULL,
  attempt smallint NOT NULL DEFAULT 0,
  lost smallint NOT NULL DEFAULT 0,
  task_key text,
  time_zone text,
  delay json,
  action json,
  payload json,
  retry json,
  external_id text,
  labels jsonb,
  lease_ends_at timestamp(3) with time zone,
  path text,
  parked_for text,
  paused_at timestamp(3) with time zone,
  pull_queue text,
  lease_holder text,
  lease_began_at timestamp(3) with time zone,
  concurrency json,
  lane text,
  waits_for text,
  signal integer,
  priority smallint,
  CONSTRAINT timers_pkey PRIMARY KEY (id)
) WITH (autovacuum_vacuum_scale_factor=0.02, autovacuum_vacuum_threshold=2000, autovacuum_vacuum_insert_scale_factor=0.2, autovacuum_analyze_scale_factor=0.05, autovacuum_vacuum_cost_delay=0, fillfactor=70);
CREATE INDEX timers_labels ON public.timers USING gin (labels jsonb_path_ops) WHERE (labels IS NOT NULL);
CREATE INDEX timers_lane ON public.timers USING btree (tenant_id, lane, due_at, id) WHERE (lane IS NOT NULL);
CREATE INDEX timers_list ON public.timers USING btree (tenant_id, due_at, id);
CREATE INDEX timers_of_run ON public.timers USING btree (run_id) WHERE (run_id IS NOT NULL);
CREATE INDEX timers_parked ON public.timers USING btree (tenant_id, parked_for, due_at, id) WHERE (parked_for IS NOT NULL);
CREATE INDEX timers_parked_priority ON public.timers USING btree (tenant_id, parked_for, due_at, id) WHERE ((priority IS NOT NULL) AND (parked_for IS NOT NULL));
CREATE INDEX timers_priority ON public.timers USING btree (tenant_id, pull_queue, priority, wake_at, id) WHERE (priority IS NOT NULL);
CREATE INDEX timers_pull ON public.timers USING btree (tenant_id, pull_queue, wake_at, id) WHERE (pull_queue IS NOT NULL);
CREATE INDEX timers_pull_wake ON public.timers USING btree (partition, wake_at, id) WHERE (pull_queue IS NOT NULL);
CREATE INDEX timers_wake ON public.timers USING btree (partition, wake_at, id) WHERE (pull_queue IS NULL);
ALTER TABLE timers ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON timers FOR ALL TO punctual_tenant
  USING (NOT (tenant_id IS DISTINCT FROM ( SELECT (current_setting('punctual.tenant_id'::text))::uuid AS current_setting)));

CREATE TABLE trace_contexts (
  target_id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  created_at timestamp(3) with time zone NOT NULL DEFAULT clock_timestamp(),
  traceparent text NOT NULL,
  CONSTRAINT trace_contexts_pkey PRIMARY KEY (target_id)
);
CREATE INDEX trace_contexts_age ON public.trace_contexts USING btree (created_at);
ALTER TABLE trace_contexts ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON trace_contexts FOR ALL TO punctual_tenant
  USING (NOT (tenant_id IS DISTINCT FROM ( SELECT (current_setting('punctual.tenant_id'::text))::uuid AS current_setting)));

CREATE TABLE workflow_versions (
  workflow_id uuid NOT NULL,
  version integer NOT NULL,
  name text NOT NULL,
  time_zone text NOT NULL,
  tasks json NOT NULL,
  created_at timestamp(3) with time zone NOT NULL,
  priority smallint,
  CONSTRAINT workflow_versions_pkey PRIMARY KEY (workflow_id, version),
  CONSTRAINT workflow_versions_priority_check CHECK (((priority >= 1) AND (priority <= 9))),
  CONSTRAINT workflow_versions_workflow_id_fkey FOREIGN KEY (workflow_id) REFERENCES workflows(id)
);
ALTER TABLE workflow_versions ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON workflow_versions FOR ALL TO punctual_tenant
  USING (EXISTS ( SELECT
   FROM workflows w
  WHERE (w.id = workflow_versions.workflow_id)));

CREATE TABLE workflows (
  id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  name text NOT NULL,
  status text NOT NULL DEFAULT 'active'::text,
  version integer NOT NULL DEFAULT 1,
  labels jsonb,
  created_at timestamp(3) with time zone NOT NULL,
  updated_at timestamp(3) with time zone NOT NULL,
  retention_days integer,
  CONSTRAINT workflows_pkey PRIMARY KEY (id),
  CONSTRAINT workflows_retention_days_check CHECK (((retention_days >= 1) AND (retention_days <= 3650))),
  CONSTRAINT workflows_status_check CHECK ((status = ANY (ARRAY['active'::text, 'paused'::text, 'archived'::text]))),
  CONSTRAINT workflows_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(id)
);
CREATE INDEX workflows_list ON public.workflows USING btree (tenant_id, created_at, id);
CREATE INDEX workflows_retention ON public.workflows USING btree (retention_days) WHERE (retention_days IS NOT NULL);
ALTER TABLE workflows ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON workflows FOR ALL TO punctual_tenant
  USING (NOT (tenant_id IS DISTINCT FROM ( SELECT (current_setting('punctual.tenant_id'::text))::uuid AS current_setting)));

CREATE VIEW own_audit_log AS  SELECT id,
    tenant_id,
    key_id,
    created_at,
    actor,
    action,
    target_ids,
    request_ids,
    details
   FROM audit_log
  WHERE (tenant_id = (current_setting('punctual.tenant_id'::text))::uuid);

CREATE VIEW own_timers AS  SELECT id,
    tenant_id,
    run_id,
    workflow_id,
    wake_at,
    due_at,
    created_at,
    version,
    workflow_version,
    timeout_ms,
    state,
    partition,
    attempt,
    lost,
    task_key,
    time_zone,
    delay,
    action,
    payload,
    retry,
    external_id,
    labels,
    lease_ends_at,
    path,
    parked_for,
    paused_at,
    pull_queue,
    lease_holder,
    lease_began_at,
    concurrency,
    lane,
    waits_for,
    signal,
    priority
   FROM timers
  WHERE (tenant_id = (current_setting('punctual.tenant_id'::text))::uuid);

GRANT INSERT, SELECT (id, tenant_id, name, scope, prefix, created_at, revoked_at), UPDATE (revoked_at) ON api_keys TO punctual_tenant;
GRANT DELETE, INSERT, SELECT ON attempts TO punctual_tenant;
GRANT INSERT, SELECT ON audit_log TO punctual_tenant;
GRANT SELECT ON bulk_failures TO punctual_tenant;
GRANT INSERT, SELECT, UPDATE ON bulk_operations TO punctual_tenant;
GRANT DELETE, INSERT, SELECT ON bulk_portions TO punctual_tenant;
GRANT DELETE, INSERT, SELECT, UPDATE ON dead_letters TO punctual_tenant;
GRANT INSERT, SELECT ON erasures TO punctual_tenant;
GRANT DELETE, INSERT, SELECT ON external_ids TO punctual_tenant;
GRANT DELETE, INSERT, SELECT ON finished_timers TO punctual_tenant;
GRANT DELETE, INSERT, SELECT, UPDATE ON gates TO punctual_tenant;
GRANT INSERT, SELECT, UPDATE ON idempotency_keys TO punctual_tenant;
GRANT DELETE, INSERT, SELECT ON lane_places TO punctual_tenant;
GRANT DELETE, INSERT, SELECT, UPDATE ON lanes TO punctual_tenant;
GRANT INSERT, SELECT ON ledger_entries TO punctual_tenant;
GRANT SELECT ON ledger_totals TO punctual_tenant;
GRANT SELECT ON own_audit_log TO punctual_tenant;
GRANT SELECT ON own_timers TO punctual_tenant;
GRANT SELECT ON pull_workers TO punctual_tenant;
GRANT DELETE, INSERT, SELECT, UPDATE ON run_signals TO punctual_tenant;
GRANT DELETE, INSERT, SELECT, UPDATE ON runs TO punctual_tenant;
GRANT DELETE, INSERT, SELECT, UPDATE ON schedules TO punctual_tenant;
GRANT DELETE, INSERT (id, tenant_id, key_id, ciphertext, created_at), SELECT (id, tenant_id, created_at, expires_at), UPDATE (expires_at) ON signing_secrets TO punctual_tenant;
GRANT DELETE, INSERT, SELECT ON task_outputs TO punctual_tenant;
GRANT SELECT (id, plain_secrets), UPDATE (plain_secrets) ON tenants TO punctual_tenant;
GRANT DELETE, INSERT, SELECT, UPDATE ON timers TO punctual_tenant;
GRANT DELETE, INSERT, SELECT ON trace_contexts TO punctual_tenant;
GRANT INSERT, SELECT ON workflow_versions TO punctual_tenant;
GRANT INSERT, SELECT, UPDATE ON workflows TO punctual_tenant;
