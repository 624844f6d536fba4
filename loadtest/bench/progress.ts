const INTERVAL_MS = 20_000;

/** Does the work, and logs now and then what `describe` says meanwhile, unless that is nothing. */
export async function withProgress<T>(
  log: (line: string) => void,
  describe: () => string | undefined | Promise<string | undefined>,
  work: () => Promise<T>,
): Promise<T> {
  const show = async () => {
    const line = await describe();
    if (line !== undefined) log(`  ${line}`);
  };
  // What can not be told is not worth ending a run for.
  const timer = setInterval(() => void show().catch(() => {}), INTERVAL_MS);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}
