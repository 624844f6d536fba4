import type { Static, TObject } from 'typebox';
import Value from 'typebox/value';

/** Every fault of the settings at once, one sentence each: what to print before giving up. */
export class ConfigError extends Error {
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(faults.join('\n'));
    this.name = 'ConfigError';
    this.faults = faults;
  }
}

/** Checks that no schema can express, such as "the renewal must be well under the lease". Returns sentences. */
export type RelationCheck<Config> = (config: Config) => string[];

interface SettingSchema {
  type?: string;
  const?: unknown;
  anyOf?: { const?: unknown }[];
  default?: unknown;
  minimum?: number;
  maximum?: number;
  minLength?: number;
}

/**
 * Reads settings from environment variables as `schema` describes them (property names are the variables' names;
 * numbers and booleans are parsed, an empty variable counts as absent, defaults are filled in).
 * Throws ConfigError with all faults together, or when there is none, with all relations that do not hold. Faults never
 * repeat a text, which may be a key or hold a password.
 */
export function readConfig<Schema extends TObject>(
  schema: Schema,
  environment: Readonly<Record<string, string | undefined>>,
  checkRelations: RelationCheck<Static<Schema>> = () => [],
): Static<Schema> {
  const faults: string[] = [];
  const config: Record<string, unknown> = {};
  for (const [name, property] of Object.entries(schema.properties)) {
    const setting = property as SettingSchema;
    const text = environment[name];
    const value = text === undefined || text === '' ? setting.default : parseSetting(setting, text);
    if (value === undefined) {
      if (schema.required?.includes(name)) faults.push(`${name} is not set.`);
      continue;
    }
    if (Value.Check(property, value)) config[name] = value;
    else faults.push(`${name}${setting.type === 'string' ? '' : `=${text}`} is not ${describeSetting(setting)}.`);
  }
  if (faults.length > 0) throw new ConfigError(faults);
  const relationFaults = checkRelations(config as Static<Schema>);
  if (relationFaults.length > 0) throw new ConfigError(relationFaults);
  return config as Static<Schema>;
}

/** The entries of a setting that is a list separated by commas. */
export function splitList(text: string): string[] {
  return text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
}

function parseSetting(setting: SettingSchema, text: string): unknown {
  if (setting.type === 'integer' || setting.type === 'number') return Number(text);
  if (setting.type === 'boolean') return text === 'true' ? true : text === 'false' ? false : text;
  return text;
}

/** What a setting accepts, in words: `a whole number from 1 to 10`, `one of on, off`, `text of at least 16 characters`. */
export function describeSetting(setting: SettingSchema): string {
  if (setting.anyOf) return `one of ${setting.anyOf.map((choice) => String(choice.const)).join(', ')}`;
  if (setting.type === 'boolean') return 'true or false';
  if (setting.type === 'integer' || setting.type === 'number') {
    const kind = setting.type === 'integer' ? 'a whole number' : 'a number';
    if (setting.minimum !== undefined && setting.maximum !== undefined) {
      return `${kind} from ${setting.minimum} to ${setting.maximum}`;
    }
    return setting.minimum === undefined ? kind : `${kind} of at least ${setting.minimum}`;
  }
  return setting.minLength === undefined ? 'valid text' : `text of at least ${setting.minLength} characters`;
}
