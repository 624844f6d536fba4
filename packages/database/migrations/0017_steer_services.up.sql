-- What operators see and steer of the processes (docs/decisions/0036): workers and schedulers that are drained, and the pull
-- workers of customers.
--
-- Adds a nullable column, which rewrites nothing and locks the table for an instant, and a new table. Older workers and schedulers
-- run on and do not look at the column: a drain of one of them has no effect.

-- Since when an instance is asked to take no more; NULL: it works.
ALTER TABLE service_instances ADD COLUMN drain_requested_at timestamptz(3);

-- Who asked for tasks of a queue lately. Written by the apis, every few seconds for those that asked meanwhile; forgotten an hour
-- after the last time.
CREATE TABLE pull_workers (
  id uuid PRIMARY KEY,
  tenant_id uuid NOT NULL,
  queue text COLLATE "C" NOT NULL,
  worker_id text COLLATE "C" NOT NULL,
  first_seen_at timestamptz(3) NOT NULL,
  last_seen_at timestamptz(3) NOT NULL,
  UNIQUE (tenant_id, queue, worker_id)
);
CREATE INDEX pull_workers_seen ON pull_workers (tenant_id, last_seen_at);

ALTER TABLE pull_workers ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON pull_workers TO punctual_tenant
  USING (tenant_id IS NOT DISTINCT FROM (SELECT current_setting('punctual.tenant_id')::uuid));
GRANT SELECT ON pull_workers TO punctual_tenant;
