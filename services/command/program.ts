import { readFileSync } from 'node:fs';
import { Command, CommanderError, Option } from 'commander';
import { API_COMMANDS, type ApiCommand } from './commands.ts';
import { addCompletion } from './completion.ts';
import { addConfigCheck } from './config-check.ts';
import { CommandError, EXIT } from './exit-codes.ts';
import { addCommand, addCommon } from './groups.ts';
import { addLongWork } from './long-work.ts';
import { addFields, parseWhole, readParts } from './options.ts';
import type { Item } from './render.ts';
import { type CommonOptions, FOLLOW_ITEMS_DEFAULT, FOLLOW_ITEMS_MAX, findOperation, Session } from './session.ts';
import { addStatus } from './status.ts';
import { print, remark, type Terminal } from './terminal.ts';

const FOOTER = `
Settings (environment): PUNCTUAL_URL (http://127.0.0.1:8088), PUNCTUAL_API_KEY.
Exit codes: 0 done, 1 refused or bad news, 2 nothing was sent, 3 the api can not be reached or can not answer now.
docs/command.md tells more.`;

/** All commands. `finish` hears the exit code of the one that ran. */
export function createProgram(terminal: Terminal, finish: (exitCode: number) => void): Command {
  const program = new Command('punctual')
    .description("Looks at Punctual and steers it, over the api's own routes.")
    .version(
      (JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8')) as { version: string }).version,
    )
    .enablePositionalOptions()
    .showHelpAfterError('(add --help for what it takes)')
    .addHelpText('after', FOOTER);
  addStatus(program, terminal, finish);
  for (const command of API_COMMANDS) addApiCommand(program, command, terminal, finish);
  addLongWork(program, terminal, finish);
  addConfigCheck(program, terminal, finish);
  addCompletion(program);
  configure(program, terminal);
  return program;
}

/** Options of lists. */
type ListOptions = { follow?: boolean; max?: number };

function addApiCommand(
  program: Command,
  spec: ApiCommand,
  terminal: Terminal,
  finish: (exitCode: number) => void,
): void {
  const operation = findOperation(spec.route);
  const command = addCommon(addCommand(program, spec.words, spec.summary ?? operation.summary));
  addFields(command, operation, Object.keys(spec.preset ?? {}));
  if (operation.isList) {
    command
      .option('--follow', `all pages, up to ${FOLLOW_ITEMS_DEFAULT} items`)
      .addOption(new Option('--max <items>', 'how many --follow shows').argParser(parseWhole(1, FOLLOW_ITEMS_MAX)));
  }
  if (spec.danger) command.option('--yes', 'does not ask');
  command.action(async () => {
    const options = command.opts<CommonOptions & ListOptions>();
    const session = new Session(terminal, options);
    const parts = readParts(operation, { args: command.args, options, readInput: terminal.readInput });
    const body: Item = { ...parts.body, ...spec.preset };
    const danger = spec.danger?.({ args: command.args, body });
    if (danger !== undefined) await session.confirm(danger);
    if (operation.isList) {
      await session.showList(spec.route, parts, { columns: spec.columns, ...options });
      finish(EXIT.done);
      return;
    }
    // An empty body is none: the api takes both where nothing is needed.
    const answer = await session.send(
      spec.route,
      Object.keys(body).length > 0 ? { ...parts, body } : { ...parts, body: {} },
    );
    session.show(answer.body);
    finish(hasFailures(answer.body) ? EXIT.bad : EXIT.done);
  });
}

/** Of a batch that was answered item by item, whether any was refused. */
function hasFailures(body: unknown): boolean {
  const results = (body as { results?: { status: number }[] } | undefined)?.results;
  return Array.isArray(results) && results.some(({ status }) => status >= 400);
}

/** Nothing may end the process, or write to another terminal, by itself. */
function configure(command: Command, terminal: Terminal): void {
  command.exitOverride().configureOutput({
    writeOut: (text) => void terminal.stdout.write(text),
    writeErr: (text) => void terminal.stderr.write(text),
  });
  for (const child of command.commands) configure(child, terminal);
}

/** Runs what was typed. Resolves to the exit code. */
export async function runCommand(args: readonly string[], terminal: Terminal): Promise<number> {
  let exitCode: number = EXIT.done;
  const program = createProgram(terminal, (code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync([...args], { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    if (!(error instanceof CommandError)) throw error;
    if (args.includes('--json') && error.problem !== undefined) print(terminal, JSON.stringify(error.problem, null, 2));
    remark(terminal, error.message);
    return error.exitCode;
  }
}
