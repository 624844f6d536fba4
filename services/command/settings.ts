import { CommandError, EXIT } from './exit-codes.ts';
import type { Terminal } from './terminal.ts';

export interface ApiSettings {
  /** Without a slash at its end. */
  url: string;
  apiKey: string | undefined;
}

export const URL_DEFAULT = 'http://127.0.0.1:8088';

/** Variables that this command reads itself: name and meaning. */
export const SETTINGS: readonly (readonly [name: string, accepts: string, byDefault: string, meaning: string])[] = [
  ['PUNCTUAL_URL', 'an http or https URL', `\`${URL_DEFAULT}\``, 'Where the api is.'],
  ['PUNCTUAL_API_KEY', 'text', '–', 'The API key. It is no option: what is typed is seen by others on the machine.'],
];

/** Where the api is, and who asks. `url`: as typed, which counts more than the environment. */
export function readApiSettings({ environment }: Terminal, url: string | undefined): ApiSettings {
  const text = url || environment.PUNCTUAL_URL || URL_DEFAULT;
  const parsed = URL.parse(text);
  if (!parsed || !/^https?:$/.test(parsed.protocol) || parsed.username !== '' || parsed.search !== '') {
    throw new CommandError(
      EXIT.usage,
      `${url ? '--url' : 'PUNCTUAL_URL'} must be an http or https URL without a user or a query, such as ${URL_DEFAULT}.`,
    );
  }
  const apiKey = environment.PUNCTUAL_API_KEY || undefined;
  if (apiKey !== undefined && !/^[\x21-\x7e]+$/.test(apiKey)) {
    throw new CommandError(EXIT.usage, 'PUNCTUAL_API_KEY holds characters that no key has.');
  }
  return { url: parsed.href.replace(/\/+$/, ''), apiKey };
}
