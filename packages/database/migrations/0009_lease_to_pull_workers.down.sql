REVOKE INSERT ON task_outputs FROM punctual_tenant;
ALTER TABLE installation DROP COLUMN lease_key;
DROP INDEX timers_pull_wake;
DROP INDEX timers_pull;
DROP INDEX timers_wake;
ALTER TABLE timers DROP COLUMN lease_began_at, DROP COLUMN lease_holder, DROP COLUMN pull_queue;
CREATE INDEX timers_wake ON timers (partition, wake_at, id);
