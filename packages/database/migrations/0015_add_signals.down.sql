DROP TABLE run_signals;
-- A view can not lose a column in place.
DROP VIEW own_timers;
ALTER TABLE dead_letters DROP COLUMN signal, DROP COLUMN waits_for;
ALTER TABLE finished_timers DROP COLUMN signal, DROP COLUMN waits_for;
ALTER TABLE timers DROP COLUMN signal, DROP COLUMN waits_for;
CREATE VIEW own_timers AS
  SELECT * FROM timers WHERE tenant_id = current_setting('punctual.tenant_id')::uuid;
GRANT SELECT ON own_timers TO punctual_tenant;
