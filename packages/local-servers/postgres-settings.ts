/**
 * Settings of a local Postgres on a box with 2 to 4 cores that it shares with Punctual itself. They are given on the
 * command line, so they win over postgresql.conf and are the same at every start.
 */
export const DEFAULT_SETTINGS: Readonly<Record<string, string>> = {
  // The hot table with its indexes fits (about 1 KB a live timer); more would be taken from the page cache.
  shared_buffers: '256MB',
  // Three services with their pools, plus a person with psql; each idle connection costs about 2 MB.
  max_connections: '200',
  // Full-page images are most of the log here, and a core has time to squeeze them. This build knows pglz alone.
  wal_compression: 'on',
  // Fewer checkpoints, so fewer full-page images. The price is recovery: at most 2 GB of log after a crash.
  max_wal_size: '2GB',
  checkpoint_timeout: '15min',
  // Every statement is short and prepared: compiling one costs more than running it.
  jit: 'off',
  // A parallel plan would take the cores that the services need, and its shared memory does not fit into the
  // 64 MB of /dev/shm that a container gets.
  max_parallel_workers_per_gather: '0',
  max_parallel_maintenance_workers: '0',
  // Local disks are SSDs.
  random_page_cost: '1.1',
  // Live timers are updated all the time: look for dead rows more often than once a minute.
  autovacuum_naptime: '15s',
  // Reserved pages that a container cannot use end a server with SIGBUS.
  huge_pages: 'off',
  // The log goes to our caller: no statements and no details, which would carry customers' data.
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
  log_line_prefix: '',
  log_checkpoints: 'off',
  log_timezone: 'UTC',
  timezone: 'UTC',
};
