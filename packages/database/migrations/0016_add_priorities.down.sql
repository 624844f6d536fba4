ALTER TABLE schedules DROP COLUMN priority;
ALTER TABLE workflow_versions DROP COLUMN priority;
-- A view can not lose a column in place.
DROP VIEW own_timers;
ALTER TABLE dead_letters DROP COLUMN priority;
ALTER TABLE finished_timers DROP COLUMN priority;
ALTER TABLE timers DROP COLUMN priority;
CREATE VIEW own_timers AS
  SELECT * FROM timers WHERE tenant_id = current_setting('punctual.tenant_id')::uuid;
GRANT SELECT ON own_timers TO punctual_tenant;
