DROP TABLE pull_workers;
ALTER TABLE service_instances DROP COLUMN drain_requested_at;
