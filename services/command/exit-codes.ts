/** How the command ends. */
export const EXIT = {
  done: 0,
  /** It was done or read, and the answer is bad news: refused, not balanced, not healthy, failed. */
  bad: 1,
  /** What was typed makes no sense, or was not confirmed. Nothing was sent. */
  usage: 2,
  /** The api can not be reached, or can not answer now. */
  unavailable: 3,
} as const;

/** Ends the command with a text for people. */
export class CommandError extends Error {
  readonly exitCode: number;
  /** What scripts get in place of the text. */
  readonly problem: unknown;

  constructor(exitCode: number, text: string, problem?: unknown) {
    super(text);
    this.exitCode = exitCode;
    this.problem = problem;
  }
}
