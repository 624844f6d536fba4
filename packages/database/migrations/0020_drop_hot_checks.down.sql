ALTER TABLE timers ADD CONSTRAINT timers_priority_check CHECK (priority BETWEEN 1 AND 9);
ALTER TABLE audit_log ADD CONSTRAINT audit_log_actor_check
  CHECK (actor IN ('key', 'bootstrap', 'nobody', 'reviewer')) NOT VALID;
