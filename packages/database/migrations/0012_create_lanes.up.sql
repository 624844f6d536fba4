-- Lanes (docs/decisions/0032): what may be under way at once of the timers with one concurrency key, of a workflow, a queue, an
-- origin or a tenant, and how many of them may begin in a second.
--
-- Adds columns without rewriting a table. The partial index reads `timers` once, a few seconds for ten million rows, during
-- which nothing can write to it. Older workers and apis start timers without asking for a place: keys and limits hold when the
-- last of them is gone. It needs no other migration than 0009.

-- What the timer was created with, its key rendered; and the key by itself, for the index. Null for all others.
ALTER TABLE timers ADD COLUMN concurrency json, ADD COLUMN lane text;
ALTER TABLE finished_timers ADD COLUMN concurrency json;
ALTER TABLE dead_letters ADD COLUMN concurrency json;
-- A view keeps the columns that there were when it was made.
CREATE OR REPLACE VIEW own_timers AS
  SELECT * FROM timers WHERE tenant_id = current_setting('punctual.tenant_id')::uuid;
-- Whoever starts one looks here for those whose turn comes before.
CREATE INDEX timers_lane ON timers (tenant_id, lane, due_at, id) WHERE lane IS NOT NULL;

CREATE TABLE lanes (
  tenant_id uuid NOT NULL,
  -- `key:<key>`.
  name text NOT NULL,
  -- Null: any number.
  limit_max integer CHECK (limit_max > 0),
  rate_per_second double precision CHECK (rate_per_second > 0),
  -- Until when the rate is used up, counted from starts that were evenly spaced.
  used_until timestamptz(6),
  -- Whether some timer may wait for a place.
  is_waiting boolean NOT NULL DEFAULT false,
  looked_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, name)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
CREATE INDEX lanes_looked ON lanes (is_waiting, looked_at);

-- Who has a place in a lane. It counts while the timer runs; what is left behind goes at the next look.
CREATE TABLE lane_places (
  tenant_id uuid NOT NULL,
  lane text NOT NULL,
  timer_id uuid NOT NULL,
  PRIMARY KEY (tenant_id, lane, timer_id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
CREATE INDEX lane_places_of_timer ON lane_places (timer_id);

GRANT SELECT, INSERT, UPDATE, DELETE ON lanes TO punctual_tenant;
GRANT SELECT, INSERT, DELETE ON lane_places TO punctual_tenant;
DO $$
DECLARE
  of_table text;
BEGIN
  FOREACH of_table IN ARRAY ARRAY['lanes', 'lane_places'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', of_table);
    -- IS NOT DISTINCT FROM: see 0003.
    EXECUTE format('CREATE POLICY of_tenant ON %I TO punctual_tenant
      USING (tenant_id IS NOT DISTINCT FROM (SELECT current_setting(''punctual.tenant_id'')::uuid))', of_table);
  END LOOP;
END
$$;
