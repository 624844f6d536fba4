import { type Fence, listFences, readMarkdownFile } from '../docs/markdown-files.ts';

/** The commands of a runbook, to be taken one after the other. */
export class RunbookPage {
  readonly path: string;
  readonly #steps: Fence[];
  #taken = 0;

  /** `path`: relative to the repository. */
  constructor(path: string) {
    this.path = path;
    this.#steps = listFences(readMarkdownFile(path).text);
  }

  /** The next step as the page has it. Throws when it is another one than `pattern` expects: then the page was changed. */
  take(pattern: RegExp): string {
    const step = this.#steps[this.#taken];
    if (step === undefined) throw new Error(`${this.path}: there is no step after the last one, wanted ${pattern}.`);
    if (!pattern.test(step.text))
      throw new Error(`${this.path}, line ${step.line}: the next step is another one than ${pattern}:\n${step.text}`);
    this.#taken += 1;
    return step.text;
  }

  /** Throws when a step was left out. */
  end(): void {
    const left = this.#steps[this.#taken];
    if (left) throw new Error(`${this.path}, line ${left.line}: this step was not carried out:\n${left.text}`);
  }
}

/** The text with values in place of those that the page has as examples. Throws when one is not there. */
export function fillIn(text: string, values: Record<string, string>): string {
  let filled = text;
  for (const [example, value] of Object.entries(values)) {
    if (!filled.includes(example)) throw new Error(`There is no ${example} in:\n${text}`);
    filled = filled.replaceAll(example, value);
  }
  return filled;
}
