-- Whoever waits because of a limit would wait for ever.
UPDATE timers SET version = version + 1, parked_for = NULL, wake_at = greatest(due_at, clock_timestamp())
WHERE state = 'scheduled' AND parked_for LIKE 'lane:%' AND parked_for NOT LIKE 'lane:key:%';
DELETE FROM lane_places WHERE lane NOT LIKE 'key:%';
DELETE FROM lanes WHERE name NOT LIKE 'key:%';
ALTER TABLE lanes DROP COLUMN is_limit;
