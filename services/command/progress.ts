import { SingleBar } from 'cli-progress';
import { remark, type Terminal } from './terminal.ts';

/** How far long work is: a bar for a person, a line for each change of its state elsewhere. Beside the answer, on stderr. */
export class Progress {
  readonly #terminal: Terminal;
  readonly #name: string;
  readonly #bar: SingleBar | undefined;
  #state: string | undefined;

  constructor(terminal: Terminal, name: string) {
    this.#terminal = terminal;
    this.#name = name;
    if (!terminal.isInteractive) return;
    this.#bar = new SingleBar({
      format: `${name} [{bar}] {percentage}% | {value} of {total} | {state}`,
      stream: terminal.stderr as NodeJS.WritableStream,
      hideCursor: true,
      barCompleteChar: '#',
      barIncompleteChar: '-',
      // A signal ends the process as it would any other.
      gracefulExit: false,
    });
  }

  show(value: number, total: number, state: string): void {
    if (this.#bar) {
      if (this.#state === undefined) this.#bar.start(total, value, { state });
      this.#bar.setTotal(total);
      this.#bar.update(value, { state });
    } else if (state !== this.#state) {
      remark(this.#terminal, `${this.#name}: ${value} of ${total}, ${state}`);
    }
    this.#state = state;
  }

  end(): void {
    this.#bar?.stop();
  }
}
