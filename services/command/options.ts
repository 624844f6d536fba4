import { readFileSync } from 'node:fs';
import { Argument, type Command, InvalidArgumentError, Option } from 'commander';
import { CommandError, EXIT } from './exit-codes.ts';
import type { Field, Operation } from './operation.ts';

const UNITS: Readonly<Record<string, string>> = { s: 'seconds', m: 'minutes', h: 'hours', d: 'days' };
/** The largest file or input that is read: far more than the api takes (bytes). */
const INPUT_BYTES_MAX = 64 * 1024 * 1024;

/** `workflowId` is `--workflow-id`; a label is named one at a time. */
export function nameOption({ name }: Pick<Field, 'name'>): string {
  if (name === 'labels') return 'label';
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** Gives a command the arguments and options of an operation; `preset` are fields that it sets itself. */
export function addFields(command: Command, operation: Operation, preset: readonly string[] = []): void {
  for (const name of operation.params) command.addArgument(new Argument(`<${name}>`));
  const wholeBody = operation.body.length > 0;
  for (const field of [...operation.query, ...operation.body]) {
    if (!preset.includes(field.name)) command.addOption(describeOption(field));
  }
  if (wholeBody) {
    command.option('--body <json>', 'the whole body as JSON, @FILE, or - for standard input; other options count more');
  }
  if (operation.hasIfMatch) command.option('--if-match <version>', 'only while it has this version');
}

function describeOption(field: Field): Option {
  const name = nameOption(field);
  const needed = field.isRequired ? ' (needed)' : '';
  const text = `${shorten(field.text ?? '')}${needed}`.trim();
  switch (field.kind) {
    case 'switch':
      return new Option(`--${name} [boolean]`, text).choices(['true', 'false']).preset('true');
    case 'labels':
      return new Option('--label <key=value>', `${text} Repeat it for several.`.trim()).argParser(collect);
    case 'texts':
      return new Option(`--${name} <list>`, `${text} With commas.`.trim()).argParser(collect);
    case 'integer':
    case 'number':
      return new Option(`--${name} <number>`, text);
    case 'json':
      return new Option(`--${name} <json>`, `${text} ${hint(field)}`.trim());
    default: {
      const option = new Option(`--${name} <text>`, text);
      return field.choices ? option.choices(field.choices) : option;
    }
  }
}

/** The first sentence, for one line of a help text. */
function shorten(text: string): string {
  const [first = ''] = text.split(/(?<=[.;])\s/);
  return first.replaceAll('`', '');
}

function hint({ name }: Field): string {
  if (name === 'delay') return 'JSON, or 30s, 5m, 2h, 1d.';
  if (name === 'filter') return "JSON, or as lists take it: 'status=scheduled&label.team=a'.";
  if (name === 'action') return 'JSON, or a URL that is called.';
  return 'JSON, or @FILE.';
}

function collect(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value];
}

/** What was typed, as the parts of a request. Throws a CommandError that names the option. */
export function readParts(
  operation: Operation,
  typed: { args: readonly string[]; options: object; readInput: () => string },
) {
  const { args, readInput } = typed;
  const options = typed.options as Readonly<Record<string, unknown>>;
  const query: Record<string, string | string[]> = {};
  for (const field of operation.query) {
    const value = options[toKey(field)];
    if (value === undefined) continue;
    if (field.kind === 'labels') {
      for (const [key, text] of Object.entries(readLabels(value as string[]))) query[`label.${key}`] = text;
    } else if (field.kind === 'texts') query[field.name] = (value as string[]).join(',');
    else query[field.name] = String(readValue(field, value, readInput));
  }
  const whole =
    options.body === undefined ? undefined : parseJson('--body', readText(options.body as string, readInput));
  if (whole !== undefined && (typeof whole !== 'object' || whole === null || Array.isArray(whole))) {
    throw new CommandError(EXIT.usage, '--body must be a JSON object.');
  }
  const fields = operation.body.flatMap((field) => {
    const value = options[toKey(field)];
    return value === undefined ? [] : [[field.name, readValue(field, value, readInput)] as const];
  });
  const params = Object.fromEntries(operation.params.map((name, index) => [name, args[index]!]));
  const ifMatch = options.ifMatch === undefined ? {} : { ifMatch: `"${String(options.ifMatch).replaceAll('"', '')}"` };
  return { params, query, body: { ...whole, ...Object.fromEntries(fields) } as Record<string, unknown>, ...ifMatch };
}

/** Commander keeps `--due-at` as `dueAt`. */
function toKey(field: Field): string {
  return field.name === 'labels' ? 'label' : field.name;
}

function readValue(field: Field, value: unknown, readInput: () => string): unknown {
  const option = `--${nameOption(field)}`;
  if (field.isNullable && value === 'null') return null;
  switch (field.kind) {
    case 'switch':
      return value === true || value === 'true';
    case 'integer':
    case 'number':
      return readNumber(option, String(value), field.kind);
    case 'texts':
      return (value as string[]).flatMap((text) => text.split(',')).map((text) => text.trim());
    case 'labels':
      return readLabels(value as string[]);
    case 'json':
      return readJson(field, option, readText(String(value), readInput));
    default:
      return value;
  }
}

function readNumber(option: string, text: string, kind: 'integer' | 'number'): number {
  const value = Number(text);
  const isGood = text.trim() !== '' && (kind === 'integer' ? Number.isSafeInteger(value) : Number.isFinite(value));
  if (isGood) return value;
  throw new CommandError(
    EXIT.usage,
    `${option} must be a ${kind === 'integer' ? 'whole ' : ''}number, and "${text}" is none.`,
  );
}

function readJson({ name }: Field, option: string, text: string): unknown {
  const duration = name === 'delay' ? /^(\d{1,15})([smhd])$/.exec(text) : null;
  if (duration) return { type: 'duration', value: Number(duration[1]), unit: UNITS[duration[2]!] };
  if (name === 'action' && /^https?:\/\//.test(text)) return { type: 'http', url: text };
  if (name === 'filter' && !text.startsWith('{')) return readFilter(text);
  return parseJson(option, text);
}

/** As lists take it in their query: `status=scheduled,paused&workflowId=…&label.team=a`. */
function readFilter(text: string): object {
  const labels: Record<string, string> = {};
  const fields: Record<string, unknown> = {};
  for (const [name, value] of new URLSearchParams(text)) {
    if (name.startsWith('label.')) labels[name.slice('label.'.length)] = value;
    else fields[name] = name === 'status' ? value.split(',') : value;
  }
  return { ...fields, ...(Object.keys(labels).length > 0 && { labels }) };
}

function parseJson(option: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new CommandError(
      EXIT.usage,
      `${option} must be JSON, or @ and the name of a file that holds it: ${(error as Error).message}. Text needs its quotes, as in '"text"'.`,
    );
  }
}

function readLabels(pairs: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf('=');
      if (at < 1) throw new CommandError(EXIT.usage, `--label must be key=value, and "${pair}" is not.`);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

/** `@FILE` is what the file holds, `-` what comes from standard input. */
function readText(value: string, readInput: () => string): string {
  if (value === '-') return readInput();
  if (!value.startsWith('@')) return value;
  try {
    const text = readFileSync(value.slice(1), 'utf8');
    if (Buffer.byteLength(text) <= INPUT_BYTES_MAX) return text;
  } catch (error) {
    throw new CommandError(EXIT.usage, `${value.slice(1)} can not be read: ${(error as Error).message}`);
  }
  throw new CommandError(EXIT.usage, `${value.slice(1)} holds more than ${INPUT_BYTES_MAX} bytes.`);
}

/** A whole number that an option must be, from `least` to `most`. */
export function parseWhole(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== '' && Number.isInteger(value) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
  };
}
