-- Whoever waits for a place would wait for ever.
UPDATE timers SET version = version + 1, parked_for = NULL, wake_at = greatest(due_at, clock_timestamp())
WHERE state = 'scheduled' AND parked_for LIKE 'lane:%';
UPDATE timers SET parked_for = NULL WHERE parked_for LIKE 'lane:%';
DROP TABLE lane_places, lanes;
DROP INDEX timers_lane;
ALTER TABLE dead_letters DROP COLUMN concurrency;
ALTER TABLE finished_timers DROP COLUMN concurrency;
-- A view can not lose a column in place. This one keeps those that are left, but for what came with migrations behind 0007, which
-- drop columns when they go down, too.
DROP VIEW own_timers;
ALTER TABLE timers DROP COLUMN lane, DROP COLUMN concurrency;
DO $$
DECLARE
  kept constant text := (
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
    WHERE attrelid = 'timers'::regclass AND attnum > 0 AND NOT attisdropped
      AND attname NOT IN ('parked_for', 'paused_at', 'pull_queue', 'lease_holder', 'lease_began_at'));
BEGIN
  EXECUTE format('CREATE VIEW own_timers AS SELECT %s FROM timers WHERE tenant_id = current_setting(''punctual.tenant_id'')::uuid', kept);
END
$$;
GRANT SELECT ON own_timers TO punctual_tenant;
