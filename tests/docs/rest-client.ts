/**
 * The part of the VS Code REST Client's format that our files use: file variables (`@name = value`), requests between
 * `###` lines, names (`# @name x`), and values from earlier answers (`{{x.response.body.$.id}}`,
 * `{{x.response.headers.etag}}`, `{{$guid}}`). Two kinds of comments are ours: what a request is expected to answer
 * (`# expect 201`), and, for a GET, what to wait for (`# until $.status is succeeded`).
 */
import { randomUUID } from 'node:crypto';

export interface HttpRequest {
  /** Where the request line stands in the file, from 1. */
  line: number;
  name: string | undefined;
  method: string;
  url: string;
  headers: [name: string, value: string][];
  body: string | undefined;
  expectedStatus: number | undefined;
  /** A path into the answer and the value to wait for. */
  awaited: { path: string; value: string } | undefined;
}

export interface HttpFile {
  variables: Map<string, string>;
  requests: HttpRequest[];
}

export interface HttpAnswer {
  status: number;
  headers: Headers;
  text: string;
}

const METHODS = /^(GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS) (\S+)$/;
const POLL_MS = 50;
/** A timer that is due now is delivered within milliseconds; a loaded machine may take longer. */
const AWAIT_LIMIT_MS = 30_000;

/** Throws, naming the line, when a part is not in the format. */
export function parseHttpFile(text: string): HttpFile {
  const variables = new Map<string, string>();
  const requests: HttpRequest[] = [];
  let current: HttpRequest | undefined;
  let pending = emptyNotes();
  let bodyLines: string[] | undefined;
  const finish = () => {
    if (current && bodyLines) current.body = bodyLines.join('\n').trim() || undefined;
    current = undefined;
    bodyLines = undefined;
    pending = emptyNotes();
  };
  for (const [index, line] of text.split('\n').entries()) {
    if (line.startsWith('###')) finish();
    else if (bodyLines) bodyLines.push(line);
    else if (current) {
      if (line.trim() === '') bodyLines = [];
      else current.headers.push(parseHeader(line, index + 1));
    } else if (line.startsWith('@')) variables.set(...parseVariable(line, index + 1));
    else if (line.startsWith('#')) readNote(line, pending);
    else if (line.trim() !== '') {
      const [, method, url] = METHODS.exec(line) ?? fail(index + 1, 'no request line');
      current = { line: index + 1, method: method!, url: url!, headers: [], body: undefined, ...pending };
      requests.push(current);
    }
  }
  finish();
  return { variables, requests };
}

function emptyNotes(): Pick<HttpRequest, 'name' | 'expectedStatus' | 'awaited'> {
  return { name: undefined, expectedStatus: undefined, awaited: undefined };
}

function readNote(line: string, notes: ReturnType<typeof emptyNotes>): void {
  notes.name = /^# @name (\w+)$/.exec(line)?.[1] ?? notes.name;
  const status = /^# expect (\d{3})\b/.exec(line)?.[1];
  if (status !== undefined) notes.expectedStatus = Number(status);
  const [, path, value] = /^# until (\$\S+) is (\S+)$/.exec(line) ?? [];
  if (path !== undefined && value !== undefined) notes.awaited = { path, value };
}

function parseHeader(line: string, number: number): [string, string] {
  const [, name, value] = /^([\w-]+): (.+)$/.exec(line) ?? fail(number, 'no header');
  return [name!, value!];
}

function parseVariable(line: string, number: number): [string, string] {
  const [, name, value] = /^@(\w+) = (\S+)$/.exec(line) ?? fail(number, 'no variable');
  return [name!, value!];
}

function fail(line: number, what: string): never {
  throw new Error(`line ${line}: ${what}`);
}

/** The value at a path such as `$.data[0].id`; undefined when there is none. */
export function readPath(value: unknown, path: string): unknown {
  let found = value;
  for (const [, name, index] of path.slice(1).matchAll(/\.([\w-]+)|\[(\d+)\]/g)) {
    found = (found as Record<string, unknown> | undefined | null)?.[name ?? index ?? ''];
  }
  return found;
}

/** Sends requests one after another; values of named ones are at hand for those that follow. */
export class RestClient {
  readonly #variables: ReadonlyMap<string, string>;
  readonly #answers = new Map<string, HttpAnswer>();

  constructor(variables: ReadonlyMap<string, string>) {
    this.#variables = variables;
  }

  /** Sends it, again and again while it waits for something. Rejects when that does not come, or a value is missing. */
  async send(request: HttpRequest): Promise<HttpAnswer> {
    const deadline = performance.now() + AWAIT_LIMIT_MS;
    for (;;) {
      const answer = await this.#sendOnce(request);
      if (request.name !== undefined) this.#answers.set(request.name, answer);
      const { awaited } = request;
      if (awaited === undefined || String(readPath(parseJson(answer), awaited.path)) === awaited.value) return answer;
      if (performance.now() > deadline) {
        throw new Error(`line ${request.line}: ${awaited.path} did not become ${awaited.value}: ${answer.text}`);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  async #sendOnce(request: HttpRequest): Promise<HttpAnswer> {
    const fill = (text: string) => this.#fill(text, request.line);
    const response = await fetch(fill(request.url), {
      method: request.method,
      headers: request.headers.map(([name, value]): [string, string] => [name, fill(value)]),
      ...(request.body === undefined ? {} : { body: fill(request.body) }),
    });
    return { status: response.status, headers: response.headers, text: await response.text() };
  }

  #fill(text: string, line: number): string {
    // What begins with a space is an expression of Punctual's own.
    return text.replaceAll(/\{\{([^}\s][^}]*)\}\}/g, (_, name: string) => this.#find(name) ?? fail(line, `no ${name}`));
  }

  #find(name: string): string | undefined {
    if (name === '$guid') return randomUUID();
    const [, requestName, part, rest] = /^(\w+)\.response\.(body|headers)\.(.+)$/.exec(name) ?? [];
    if (requestName === undefined) return this.#variables.get(name);
    const answer = this.#answers.get(requestName);
    if (answer === undefined) return undefined;
    if (part === 'headers') return answer.headers.get(rest!) ?? undefined;
    const value = readPath(parseJson(answer), rest!);
    return value === undefined ? undefined : String(value);
  }
}

/** The answer's body as JSON; undefined when it is none. */
export function parseJson(answer: HttpAnswer): unknown {
  try {
    return JSON.parse(answer.text);
  } catch {
    return undefined;
  }
}
