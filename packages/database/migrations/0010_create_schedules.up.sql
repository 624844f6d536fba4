-- Recurring schedules (docs/decisions/0029). A schedule that is active has one timer of the system, which begins its occurrences.
--
-- A new table: it locks nothing that others use, and code of before runs on. Workers of before do not know the new kind of timer:
-- they put it off, so occurrences may be late until the last of them is gone. It needs no other migration than 0003.

CREATE TABLE schedules (
  id uuid PRIMARY KEY,
  tenant_id uuid NOT NULL,
  name text,
  status text NOT NULL CHECK (status IN ('active', 'paused', 'ended')),
  -- Rises with each change that somebody asks for.
  version integer NOT NULL DEFAULT 1,
  -- When it occurs and what becomes of overlaps and misses, as it is shown: rule, timeZone, startAt, endAt, jitterMs, overlap, missedRuns.
  spec json NOT NULL,
  -- What an occurrence is: a run of a workflow, or else a single timer.
  workflow_id uuid,
  input json,
  action json,
  payload json,
  retry json,
  timeout_ms integer,
  labels jsonb,
  -- Since when an interval is counted that has no start: when its rule was set.
  anchor_at timestamptz(3) NOT NULL,
  -- All occurrences up to here are begun, wait or were skipped. Those that wait: epoch ms, in order.
  handled_at timestamptz(3) NOT NULL,
  waiting float8[] NOT NULL DEFAULT '{}',
  -- The next occurrence, and when it is due; null when there is none.
  next_at timestamptz(3),
  next_due_at timestamptz(3),
  -- Of the system, while it is active.
  timer_id uuid,
  -- What was begun last: the run or timer, when, and for which occurrence; null when somebody triggered it.
  last_target_id uuid,
  last_begun_at timestamptz(3),
  last_occurrence_at timestamptz(3),
  -- Why an occurrence could not begin: code, detail, at. Null when the last one could.
  failure json,
  -- How many live timers its tenant may have by the settings of the api that stored it; null: no limit.
  live_timers_max integer,
  created_at timestamptz(3) NOT NULL,
  updated_at timestamptz(3) NOT NULL,
  CHECK ((workflow_id IS NULL) <> (action IS NULL)),
  CHECK ((status = 'active') = (timer_id IS NOT NULL))
);
CREATE INDEX schedules_list ON schedules (tenant_id, created_at, id);

GRANT SELECT, INSERT, UPDATE, DELETE ON schedules TO punctual_tenant;
ALTER TABLE schedules ENABLE ROW LEVEL SECURITY;
-- IS NOT DISTINCT FROM: see 0003.
CREATE POLICY of_tenant ON schedules TO punctual_tenant
  USING (tenant_id IS NOT DISTINCT FROM (SELECT current_setting('punctual.tenant_id')::uuid));
