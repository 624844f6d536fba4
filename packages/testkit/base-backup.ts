import { chmodSync, cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';

/** Postgres' own directory inside a data folder, and what of it a copy must not take over. */
const CLUSTER = 'cluster';
const NOT_COPIED = new Set(['postmaster.pid', 'postmaster.opts', 'pg_wal', 'postgresql.auto.conf.tmp']);
/** Postgres starts only on a directory that nobody else may read. */
const PRIVATE = 0o700;

/**
 * Copies the cluster in the data folder `from`, which the server of `url` runs on, to the data folder `to`: a base backup, as
 * `pg_basebackup` makes one, by the same functions of the server. Started on it, Postgres needs the log since, from
 * a primary or an archive; `signal` names the file that tells it which: `standby.signal` or `recovery.signal`.
 */
export async function takeBaseBackup(
  url: string,
  from: string,
  to: string,
  signal: 'standby.signal' | 'recovery.signal',
): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query("SELECT pg_backup_start('base backup', fast => true)");
    const [source, copy] = [join(from, CLUSTER), join(to, CLUSTER)];
    mkdirSync(to, { mode: PRIVATE });
    cpSync(source, copy, {
      recursive: true,
      preserveTimestamps: true,
      filter: (path) => !NOT_COPIED.has(path.slice(source.length + 1)),
    });
    mkdirSync(join(copy, 'pg_wal'));
    chmodSync(copy, PRIVATE);
    const { rows } = await client.query('SELECT labelfile, spcmapfile FROM pg_backup_stop(wait_for_archive => false)');
    writeFileSync(join(copy, 'backup_label'), rows[0].labelfile);
    if (rows[0].spcmapfile) writeFileSync(join(copy, 'tablespace_map'), rows[0].spcmapfile);
    writeFileSync(join(copy, signal), '');
  } finally {
    await client.end();
  }
}
