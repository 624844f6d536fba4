-- Timers that workers of the customer lease (docs/decisions/0028). Two indexes of their own hold them, and the index of the
-- schedulers' reads leaves them out: a million that nobody fetches must not lie in the way of those that are called.
--
-- Makes the index `timers_wake` anew, and keeps writers of `timers` waiting meanwhile: some seconds for ten million rows.
-- Older schedulers do not know the condition of the new one and would read whole tables: stop them before, start the newer
-- ones after it. Older apis and workers run on; they make no such timers.
ALTER TABLE timers
  ADD COLUMN pull_queue text,
  -- Who leased it, and since when; both stay behind when the timer goes back to wait.
  ADD COLUMN lease_holder text,
  ADD COLUMN lease_began_at timestamptz(3);
CREATE INDEX timers_wake_of_called ON timers (partition, wake_at, id) WHERE pull_queue IS NULL;
DROP INDEX timers_wake;
ALTER INDEX timers_wake_of_called RENAME TO timers_wake;
-- What a lease takes, in order of due time; what schedulers announce.
CREATE INDEX timers_pull ON timers (tenant_id, pull_queue, wake_at, id) WHERE pull_queue IS NOT NULL;
CREATE INDEX timers_pull_wake ON timers (partition, wake_at, id) WHERE pull_queue IS NOT NULL;

-- Signs lease tokens, for all apis. Who reads it still needs a key of the tenant to use a token.
ALTER TABLE installation
  ADD COLUMN lease_key bytea NOT NULL DEFAULT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());

-- A task that a worker of the customer ends is ended by the api, which keeps its output.
GRANT INSERT ON task_outputs TO punctual_tenant;
