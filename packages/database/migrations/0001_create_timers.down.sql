-- Drops everything that 0001 made, all timers included.
DROP TABLE partition_leases, service_instances, ledger_totals, ledger_entries, idempotency_keys, external_ids,
  attempts, dead_letters, finished_timers, timers, runs, workflow_versions, workflows, api_keys, tenants, installation;
DROP TYPE attempt_outcome;
DROP TYPE timer_state;
