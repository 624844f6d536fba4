-- Drops the log with all that was written down in it.
DROP TABLE audit_log;
