import { createWriteStream, statSync, type WriteStream } from 'node:fs';

/** A log that has grown beyond this is begun anew at the next start (bytes). */
const LOG_BYTES_MAX = 10_000_000;
/** Lines kept until the file can be opened, which is when the data folder exists. */
const EARLY_LINES_MAX = 1_000;

/** Keeps what the embedded Postgres says, in a file beside its data. */
export class PostgresLog {
  #early: string[] = [];
  #file: WriteStream | undefined;

  readonly write = (line: string): void => {
    if (this.#file) this.#file.write(`${line}\n`);
    else if (this.#early.length < EARLY_LINES_MAX) this.#early.push(line);
  };

  open(path: string): void {
    const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    this.#file = createWriteStream(path, { flags: size > LOG_BYTES_MAX ? 'w' : 'a', mode: 0o600 });
    for (const line of this.#early) this.#file.write(`${line}\n`);
    this.#early = [];
  }

  async close(): Promise<void> {
    const file = this.#file;
    if (file) await new Promise<void>((resolve) => file.end(resolve));
  }
}
