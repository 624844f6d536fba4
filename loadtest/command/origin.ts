import { execFileSync } from 'node:child_process';
import { cpus, totalmem } from 'node:os';

/** Where and when figures were made. */
export interface Origin {
  command: string;
  commit: string;
  machine: string;
  measuredAt: string;
}

/** `script`: what `npm run` was given; its arguments are quoted where a shell needs it. */
export function describeOrigin(script: string, args: readonly string[]): Origin {
  const git = (...words: string[]) => execFileSync('git', words, { cwd: import.meta.dirname, encoding: 'utf8' }).trim();
  const isClean = git('status', '--porcelain', '--untracked-files=no') === '';
  const words = args.map((word) => (/^[\w./:=,-]+$/.test(word) ? word : `'${word}'`));
  return {
    command: ['npm run', script, ...(words.length === 0 ? [] : ['--', ...words])].join(' '),
    commit: `${git('rev-parse', '--short', 'HEAD')}${isClean ? '' : ' with changes'}`,
    machine: `${cpus().length} × ${describeProcessor()}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`,
    measuredAt: new Date().toISOString(),
  };
}

/** One name is given to processors of several speeds, so the clock rate stands beside it where it is known. */
function describeProcessor(): string {
  const processor = cpus()[0];
  const model = processor?.model.trim() ?? 'unknown processor';
  return processor?.speed ? `${model} ${processor.speed} MHz` : model;
}
