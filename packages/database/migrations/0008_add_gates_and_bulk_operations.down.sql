-- Whatever is paused would never go on: it is let go first.
UPDATE timers SET state = 'scheduled', version = version + 1, wake_at = greatest(due_at, clock_timestamp()) WHERE state = 'paused';
UPDATE runs SET status = 'running' WHERE status = 'paused';
UPDATE workflows SET status = 'active' WHERE status = 'paused';
DROP TABLE bulk_failures, bulk_portions, bulk_operations, gates, gates_epoch;
ALTER TABLE service_instances DROP COLUMN gates_epoch;
ALTER TABLE runs DROP COLUMN paused_at;
DROP INDEX timers_parked;
ALTER TABLE timers DROP COLUMN parked_for, DROP COLUMN paused_at;
-- The timers of the system are of kinds that older workers do not know.
WITH gone AS (
  DELETE FROM timers WHERE tenant_id = '00000000-0000-7000-8000-000000000000' RETURNING tenant_id, partition
)
INSERT INTO ledger_entries (tenant_id, partition, cancelled)
SELECT tenant_id, partition, count(*) FROM gone GROUP BY tenant_id, partition;
