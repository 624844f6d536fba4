REVOKE INSERT ON dead_letters FROM punctual_tenant;
DROP TABLE task_outputs;
-- A view can not lose a column in place.
DROP VIEW own_timers;
ALTER TABLE dead_letters DROP COLUMN path;
ALTER TABLE finished_timers DROP COLUMN path;
ALTER TABLE timers DROP COLUMN path;
CREATE VIEW own_timers AS
  SELECT * FROM timers WHERE tenant_id = current_setting('punctual.tenant_id')::uuid;
GRANT SELECT ON own_timers TO punctual_tenant;
