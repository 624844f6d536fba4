-- How long what has ended is kept, the erasure of runs, and their review (docs/decisions/0033, 0034).
--
-- Adds columns that are null, a table of one row, and rights. Locks each table for an instant and rewrites none; code of
-- before runs on, keeps what has ended as long as before, and never reviews.

-- Days; null: what stands above says, and above the tenant the schedulers' setting.
ALTER TABLE tenants ADD COLUMN retention_days integer CHECK (retention_days BETWEEN 1 AND 3650);
ALTER TABLE workflows ADD COLUMN retention_days integer CHECK (retention_days BETWEEN 1 AND 3650);
-- For the longest of them, which decides when a day of the history may go.
CREATE INDEX workflows_retention ON workflows (retention_days) WHERE retention_days IS NOT NULL;

-- A tenant erases its own runs with all that they left.
GRANT DELETE ON runs, finished_timers, attempts, task_outputs TO punctual_tenant;

-- What the last review of all runs found, and what all of them mended.
CREATE TABLE run_review (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  ended_at timestamptz(3),
  -- Of the last review: runs that it looked at, and those that it could not mend.
  reviewed integer NOT NULL DEFAULT 0,
  unmendable integer NOT NULL DEFAULT 0,
  -- Of all reviews: runs mended, and tasks of them whose timer was gone without a trace.
  mended bigint NOT NULL DEFAULT 0,
  tasks_lost bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
INSERT INTO run_review DEFAULT VALUES;

-- The reviewer enters in the audit log what it mends. Not valid: so that the log is not read as a whole under the lock; what
-- is there met the narrower condition.
ALTER TABLE audit_log DROP CONSTRAINT audit_log_actor_check;
ALTER TABLE audit_log ADD CONSTRAINT audit_log_actor_check
  CHECK (actor IN ('key', 'bootstrap', 'nobody', 'reviewer')) NOT VALID;
