UPDATE timers SET wake_at = lease_ends_at WHERE state = 'running' AND lease_ends_at IS NOT NULL;
ALTER TABLE timers RESET (fillfactor);
ALTER TABLE timers DROP COLUMN lease_ends_at;
