DELETE FROM audit_log WHERE actor = 'reviewer';
ALTER TABLE audit_log DROP CONSTRAINT audit_log_actor_check;
ALTER TABLE audit_log ADD CONSTRAINT audit_log_actor_check CHECK (actor IN ('key', 'bootstrap', 'nobody'));
DROP TABLE run_review;
REVOKE DELETE ON runs, finished_timers, attempts, task_outputs FROM punctual_tenant;
DROP INDEX workflows_retention;
ALTER TABLE workflows DROP COLUMN retention_days;
ALTER TABLE tenants DROP COLUMN retention_days;
