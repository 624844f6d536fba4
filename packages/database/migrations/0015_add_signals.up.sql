-- Tasks that wait for a signal (docs/decisions/0030): which one a timer waits for and which it got, and the signals of runs.
--
-- Adds two nullable columns to three tables, which rewrites none and locks each for an instant. Older code runs on: it leaves the
-- columns empty, and would try a task whose time-out has passed as if its delay had; so older services are stopped before
-- workflows that wait for signals are stored.

-- `waits_for`: the name of the signal that a timer waits for until `due_at`, NULL once it came. What has a name there and was
-- started, or ended, waited in vain. `signal`: the number of the one that came, in `run_signals`.
ALTER TABLE timers ADD COLUMN waits_for text, ADD COLUMN signal integer;
ALTER TABLE finished_timers ADD COLUMN waits_for text, ADD COLUMN signal integer;
ALTER TABLE dead_letters ADD COLUMN waits_for text, ADD COLUMN signal integer;
-- A view keeps the columns that there were when it was made.
CREATE OR REPLACE VIEW own_timers AS
  SELECT * FROM timers WHERE tenant_id = current_setting('punctual.tenant_id')::uuid;

-- Signals that a run was sent, in the order in which they came. Written under the lock of the run.
CREATE TABLE run_signals (
  run_id uuid NOT NULL,
  number integer NOT NULL,
  tenant_id uuid NOT NULL,
  name text COLLATE "C" NOT NULL,
  payload json NOT NULL,
  created_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  -- NULL: no task has waited for it yet.
  delivered_at timestamptz(3),
  PRIMARY KEY (run_id, number)
);

ALTER TABLE run_signals ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON run_signals TO punctual_tenant
  USING (tenant_id IS NOT DISTINCT FROM (SELECT current_setting('punctual.tenant_id')::uuid));
GRANT SELECT, INSERT, UPDATE, DELETE ON run_signals TO punctual_tenant;
