import type { Readable, Writable } from 'node:stream';

/** Where the command runs. */
export interface Terminal {
  environment: Readonly<Record<string, string | undefined>>;
  stdin: Readable;
  /** All that comes from standard input. */
  readInput: () => string;
  stdout: Writable;
  stderr: Writable;
  /** A person sits there: progress is drawn, and questions are asked. */
  isInteractive: boolean;
}

/** Writes a line of the answer. */
export function print(terminal: Terminal, text: string): void {
  terminal.stdout.write(`${text}\n`);
}

/** Writes a line beside the answer, which scripts need not read. */
export function remark(terminal: Terminal, text: string): void {
  terminal.stderr.write(`${text}\n`);
}

/** Marks that a terminal obeys, and those that turn or hide text: names and errors are whatever somebody chose. */
const CONTROL = /[\p{Cc}\p{Cf}]/gu;

/** Text of others as it may be shown: what would steer the terminal is spelled out. */
export function clean(text: string): string {
  return text.replaceAll(CONTROL, (mark) => `\\u${mark.codePointAt(0)!.toString(16).padStart(4, '0')}`);
}
