-- Priorities within a tenant (docs/decisions/0035): who of a tenant's due timers goes first.
--
-- Adds nullable columns, which rewrites no table and locks each for an instant. The two partial indexes read `timers` once, a few
-- seconds for ten million rows, during which nothing can write to it; they hold nothing of timers without a priority. Older
-- code runs on: it leaves the columns empty, and knows no order but that of due times.

-- 1 to 9; NULL: none, which is the lowest.
ALTER TABLE timers ADD COLUMN priority smallint CHECK (priority BETWEEN 1 AND 9);
ALTER TABLE finished_timers ADD COLUMN priority smallint;
ALTER TABLE dead_letters ADD COLUMN priority smallint;
-- A view keeps the columns that there were when it was made.
CREATE OR REPLACE VIEW own_timers AS
  SELECT * FROM timers WHERE tenant_id = current_setting('punctual.tenant_id')::uuid;
-- What a version's tasks have that say nothing of their own.
ALTER TABLE workflow_versions ADD COLUMN priority smallint CHECK (priority BETWEEN 1 AND 9);
-- Of the timers that it makes.
ALTER TABLE schedules ADD COLUMN priority smallint CHECK (priority BETWEEN 1 AND 9);

-- Those that are due, of one tenant and one queue (NULL: those that workers of ours call), the highest first.
CREATE INDEX timers_priority ON timers (tenant_id, pull_queue, priority, wake_at, id) WHERE priority IS NOT NULL;
-- Those that wait for a place in a lane.
CREATE INDEX timers_parked_priority ON timers (tenant_id, parked_for, due_at, id) WHERE priority IS NOT NULL AND parked_for IS NOT NULL;
