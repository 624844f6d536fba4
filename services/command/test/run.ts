import { PassThrough, Readable } from 'node:stream';
import { runCommand } from '../program.ts';

export interface Ran {
  exitCode: number;
  stdout: string;
  stderr: string;
}

/**
 * Runs the command in this process, as a script would: nobody answers questions, unless `typed` is what a person types, of
 * whom an empty text is the end of the input.
 */
export async function run(
  args: readonly string[],
  environment: Record<string, string> = {},
  { input = '', typed }: { input?: string; typed?: string } = {},
): Promise<Ran> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  if (typed !== undefined) Object.assign(stderr, { isTTY: true, columns: 100 });
  const [out, err] = [readAll(stdout), readAll(stderr)];
  const exitCode = await runCommand(args, {
    environment,
    stdin: Readable.from(typed ? [`${typed}\n`] : []),
    readInput: () => input,
    stdout,
    stderr,
    isInteractive: typed !== undefined,
  });
  stdout.end();
  stderr.end();
  return { exitCode, stdout: await out, stderr: await err };
}

async function readAll(stream: PassThrough): Promise<string> {
  let text = '';
  for await (const part of stream.setEncoding('utf8')) text += part;
  return text;
}
