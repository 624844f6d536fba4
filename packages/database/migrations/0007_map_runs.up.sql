-- Runs whose tasks run once per element: which element a timer is for, and what the tasks' answers were.
--
-- Adds a nullable column to three tables, which rewrites none and locks each for an instant. Older code runs on: it leaves the
-- column empty. It can not go on with runs of workflows that use what is new, whose tasks it would not understand, so older
-- services are stopped before such workflows are stored.

-- Places of the elements from the outside in, four digits each, `0003.0011`: so text sorts as the elements do. NULL for all that
-- runs once. No index: it is read with `run_id`.
ALTER TABLE timers ADD COLUMN path text;
ALTER TABLE finished_timers ADD COLUMN path text;
ALTER TABLE dead_letters ADD COLUMN path text;
-- A view keeps the columns that there were when it was made.
CREATE OR REPLACE VIEW own_timers AS
  SELECT * FROM timers WHERE tenant_id = current_setting('punctual.tenant_id')::uuid;

-- Of the tasks whose outputs others refer to. Written by the transaction of the outcome, never changed.
CREATE TABLE task_outputs (
  run_id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  task_key text NOT NULL,
  -- As in `timers`; empty for what runs once.
  path text COLLATE "C" NOT NULL,
  output json NOT NULL,
  created_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (run_id, task_key, path)
);

ALTER TABLE task_outputs ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON task_outputs TO punctual_tenant
  USING (tenant_id IS NOT DISTINCT FROM (SELECT current_setting('punctual.tenant_id')::uuid));
-- A run that the api begins, or whose task it cancels, may go on with what outputs say; it stores none.
GRANT SELECT ON task_outputs TO punctual_tenant;
-- What could not be begun ends dead in the transaction that wanted to begin it.
GRANT INSERT ON dead_letters TO punctual_tenant;
