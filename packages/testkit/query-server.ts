import pg from 'pg';

/** Runs one statement on the server of `url`, on a connection of its own. */
export async function queryServer(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}
