DROP TABLE schedules;
-- Their timers are of a kind that older workers do not know.
WITH gone AS (
  DELETE FROM timers WHERE tenant_id = '00000000-0000-7000-8000-000000000000' AND action ->> 'task' = 'schedule'
  RETURNING tenant_id, partition
)
INSERT INTO ledger_entries (tenant_id, partition, cancelled)
SELECT tenant_id, partition, count(*) FROM gone GROUP BY tenant_id, partition;
