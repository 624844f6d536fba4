-- Limits of whole workflows, queues, origins and tenants (docs/decisions/0032): lanes whose rule somebody set, through which all
-- timers of the tenant go that they are for.
--
-- Adds a column without rewriting the table. Older workers and apis know no limits: these hold when the last of them is gone.
-- It needs no other migration than 0012.
ALTER TABLE lanes ADD COLUMN is_limit boolean NOT NULL DEFAULT false;
-- Asked by every start: whose timers have to look for places. Empty where nobody has set a limit.
CREATE INDEX lanes_limits ON lanes (tenant_id, name) WHERE is_limit;
