import { createTestDatabase, type TestDatabase } from '@punctual/testkit';
import pg from 'pg';

/** The time by which a database of a test's own lives. It stands still until it is moved. */
export interface ControlledClock {
  /** Epoch µs, as Postgres counts. */
  readonly nowUs: number;
  moveTo(us: number): Promise<void>;
}

// The statements say `clock_timestamp()` without a schema, so a schema that is searched before `pg_catalog` can answer
// for them, and they stay as they are. A sequence holds the time, because what is written to it is seen at once by
// every statement, the ones that have begun included, like a real clock.
const MAKE_CLOCK = `
  CREATE SCHEMA controlled;
  CREATE SEQUENCE controlled.now_us;
  CREATE FUNCTION controlled.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
    $$ SELECT 'epoch'::timestamptz + last_value * interval '1 microsecond' FROM controlled.now_us $$;
  CREATE FUNCTION controlled.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE AS
    $$ SELECT controlled.clock_timestamp() $$;
  CREATE FUNCTION controlled.now() RETURNS timestamptz LANGUAGE sql STABLE AS
    $$ SELECT controlled.clock_timestamp() $$`;

/** A test database whose statements ask the controlled clock. Connections opened before this returns are not to be used. */
export async function createClockedDatabase(): Promise<{ testDatabase: TestDatabase; makeClockOf: typeof openClock }> {
  const testDatabase = await createTestDatabase();
  const client = new pg.Client({ connectionString: testDatabase.url });
  await client.connect();
  try {
    await client.query(MAKE_CLOCK);
    const { rows } = await client.query<{ name: string }>(`SELECT format('%I', current_database()) AS name`);
    const name = rows[0]!.name;
    await client.query(`ALTER DATABASE ${name} SET search_path = controlled, pg_catalog, public`);
    // Nothing here outlives a crash, and a commit that waits for the disk takes ten times as long.
    await client.query(`ALTER DATABASE ${name} SET synchronous_commit = off`);
  } finally {
    await client.end();
  }
  return { testDatabase, makeClockOf: openClock };
}

/** The clock, moved by way of a connection that is used for nothing else at the same time. */
function openClock(client: pg.ClientBase): ControlledClock {
  let nowUs = 0;
  return {
    get nowUs() {
      return nowUs;
    },
    async moveTo(us) {
      await client.query({ name: 'move_clock', text: `SELECT setval('controlled.now_us', $1)`, values: [us] });
      nowUs = us;
    },
  };
}
