-- What was changed through the api, by whom. It locks nothing that is used, and code that knows nothing of it still runs.
-- It needs no other migration than 0001.
--
-- One row tells of all that one statement did for one key: a row and its index entry for each timer would make a sleeping
-- timer larger than a kilobyte. `request_ids` holds one id for all targets, or one for each, with spaces between: as an array
-- it would be twice as large.
CREATE TABLE audit_log (
  id uuid NOT NULL DEFAULT uuidv7(),
  -- The tenant whose things were changed.
  tenant_id uuid NOT NULL,
  key_id uuid,
  created_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  actor text NOT NULL CHECK (actor IN ('key', 'bootstrap', 'nobody')),
  action text NOT NULL,
  target_ids uuid[] NOT NULL,
  request_ids text NOT NULL,
  details json
) PARTITION BY RANGE (created_at);
-- Without the id, by which the few rows of one millisecond are sorted when they are read: it would be a third of the index.
CREATE INDEX audit_log_list ON audit_log (tenant_id, created_at);
-- Ids of what was created tell when that was, so creates are found by their time. They are by far the most: indexing each
-- of their ids would cost more than all the rest of the log.
CREATE INDEX audit_log_targets ON audit_log USING gin (target_ids)
  WHERE action NOT IN ('timer.create', 'timers.batch.create', 'run.create', 'runs.batch.create');

-- As of the history: days are made ahead and dropped whole, and nothing fails because one is missing.
CREATE TABLE audit_log_default PARTITION OF audit_log DEFAULT;
DO $$
DECLARE
  day date;
BEGIN
  FOR offset_days IN 0..7 LOOP
    day := (clock_timestamp() AT TIME ZONE 'UTC')::date + offset_days;
    EXECUTE format('CREATE TABLE %I PARTITION OF audit_log FOR VALUES FROM (%L) TO (%L)', 'audit_log' || to_char(day, '_YYYYMMDD'),
      to_char(day, 'YYYY-MM-DD') || ' 00:00:00+00', to_char(day + 1, 'YYYY-MM-DD') || ' 00:00:00+00');
  END LOOP;
END
$$;
