/** What somebody typed does not do; the message says what would. */
export class UsageError extends Error {}

/** Reads `--name`'s value. Throws UsageError unless it is a whole number within the limits. */
export function readWholeNumber(name: string, text: string, { min = 1, max }: { min?: number; max: number }): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new UsageError(`--${name} is a whole number from ${min} to ${max}.`);
}

/**
 * What `readOptions` makes of the arguments. When it throws, or yields undefined for help, the usage text is printed and
 * the answer is the exit code: 2, or 0.
 */
export function openCommand<Options extends object>(
  args: readonly string[],
  usage: string,
  readOptions: (args: readonly string[]) => Options | undefined,
): Options | number {
  let options: Options | undefined;
  try {
    options = readOptions(args);
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${usage}`);
    return 2;
  }
  if (options !== undefined) return options;
  console.log(usage);
  return 0;
}
