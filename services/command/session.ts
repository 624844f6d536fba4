import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { type Answer, ApiClient, type RequestParts } from './api-client.ts';
import { CommandError, EXIT } from './exit-codes.ts';
import type { Operation } from './operation.ts';
import { type Column, chooseColumns, type Item, renderItem, renderTable } from './render.ts';
import { readApiSettings } from './settings.ts';
import { clean, print, remark, type Terminal } from './terminal.ts';

/** Options that every command takes which asks the api. */
export interface CommonOptions {
  json?: boolean;
  url?: string;
  yes?: boolean;
  quiet?: boolean;
}

/** The operations of the API, as they were when this version was made. */
export const OPERATIONS: readonly Operation[] = JSON.parse(
  readFileSync(new URL('operations.json', import.meta.url), 'utf8'),
);

/** Items that `--follow` shows at most, unless told otherwise, and the most that it may be told. */
export const FOLLOW_ITEMS_DEFAULT = 10_000;
export const FOLLOW_ITEMS_MAX = 1_000_000;
/** Of one page while following. */
const PAGE_ITEMS = '200';

export function findOperation(route: string): Operation {
  const operation = OPERATIONS.find((other) => other.route === route);
  if (!operation) throw new Error(`No operation ${route} in operations.json.`);
  return operation;
}

/** One command under way: asks the api, and shows what it answers. */
export class Session {
  readonly terminal: Terminal;
  readonly isJson: boolean;
  readonly #isSure: boolean;
  readonly #isQuiet: boolean;
  readonly #client: ApiClient;

  constructor(terminal: Terminal, options: CommonOptions) {
    this.terminal = terminal;
    this.isJson = options.json === true;
    this.#isSure = options.yes === true;
    this.#isQuiet = options.quiet === true;
    this.#client = new ApiClient(readApiSettings(terminal, options.url));
  }

  send(route: string, parts?: RequestParts, accept?: readonly number[]): Promise<Answer> {
    return this.#client.send(findOperation(route), parts, accept);
  }

  async read<Body>(route: string, parts?: RequestParts): Promise<Body> {
    return (await this.send(route, parts)).body as Body;
  }

  /** Goes on when a person says yes, or `--yes` did. Rejects otherwise. */
  async confirm(danger: string): Promise<void> {
    if (this.#isSure) return;
    const { terminal } = this;
    if (!terminal.isInteractive) throw new CommandError(EXIT.usage, `${danger} Nothing was done: add --yes.`);
    const lines = createInterface({ input: terminal.stdin, output: terminal.stderr });
    // The end of the input is no answer.
    const ended = new Promise<string>((resolve) => lines.once('close', () => resolve('')));
    const answer = await Promise.race([lines.question(`${danger} Go on? [y/N] `), ended]);
    lines.close();
    if (!/^y(es)?$/i.test(answer.trim())) throw new CommandError(EXIT.usage, 'Nothing was done.');
  }

  json(value: unknown): void {
    print(this.terminal, JSON.stringify(value, null, 2));
  }

  /** Shows an answer that is no list. */
  show(body: unknown): void {
    if (this.#isQuiet) this.#showIds([body]);
    else if (this.isJson) this.json(body ?? null);
    else if (body === undefined) print(this.terminal, 'Done.');
    else if (typeof body === 'object' && body !== null) print(this.terminal, renderItem(body as Item));
    else print(this.terminal, String(body));
  }

  #showIds(items: readonly unknown[]): void {
    for (const item of items) {
      const { id } = (item ?? {}) as { id?: unknown };
      if (typeof id === 'string') print(this.terminal, clean(id));
    }
  }

  /** Shows a page of a list, or with `follow` all pages up to `max` items. */
  async showList(
    route: string,
    parts: RequestParts,
    { columns, follow, max }: { columns?: readonly Column[] | undefined; follow?: boolean; max?: number },
  ): Promise<void> {
    const limit = max ?? FOLLOW_ITEMS_DEFAULT;
    const query = { ...parts.query, ...(follow && !parts.query?.limit && { limit: PAGE_ITEMS }) };
    const page = await this.read<{ data: Item[]; nextCursor: string | null }>(route, { ...parts, query });
    const data = [...page.data];
    let { nextCursor } = page;
    while (follow && nextCursor !== null && data.length < limit) {
      const next = await this.read<typeof page>(route, { ...parts, query: { ...query, cursor: nextCursor } });
      data.push(...next.data);
      ({ nextCursor } = next);
    }
    const { terminal } = this;
    if (this.#isQuiet) this.#showIds(data);
    else if (this.isJson) this.json({ data, nextCursor });
    else if (data.length === 0) print(terminal, 'None.');
    else print(terminal, renderTable(data, columns ?? chooseColumns(data)));
    if (nextCursor === null || this.isJson) return;
    const how = follow ? `That are the first ${data.length}; ` : '';
    remark(terminal, `${how}There are more: --cursor ${nextCursor}${follow ? ', or a larger --max' : ', or --follow'}`);
  }
}
