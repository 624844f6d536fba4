import { parseArgs } from 'node:util';
import { readWholeNumber, UsageError } from '@punctual/loadtest-command';

export const USAGE = `usage: npm run fuzz [-- OPTION...]        or: pnpm fuzz [OPTION...]

Sends requests that are sensible, and requests that are not, to an api of its own, and holds every answer against the
OpenAPI document and what may never happen: a 5xx, an answer that is not as described, a door that does not hold.

  --cases N         requests to send (10000)
  --seed N          the same seed draws the same requests (a new one each time)
  --round N         begin at this round of the seed: to look at a failure again
  --schemathesis    let Schemathesis do it instead: taken from the PATH, else installed once with Python
  --examples N      with --schemathesis: requests to draw for each operation (100)
  --out NAME        write NAME.md and NAME.json
  --note TEXT       a remark for these files
  --help            print this`;

const CASES_DEFAULT = 10_000;
/** Some hours. */
const CASES_MAX = 10_000_000;
const EXAMPLES_DEFAULT = 100;
const EXAMPLES_MAX = 100_000;
/** What fast-check takes for a seed. */
const SEED_MAX = 2_147_483_647;

export interface FuzzCommand {
  kind: 'own' | 'schemathesis';
  cases: number;
  examples: number;
  seed: number;
  round: number;
  out: string | undefined;
  note: string | undefined;
}

/** Undefined: help was asked for. Throws UsageError, or what parseArgs throws. */
export function readOptions(args: readonly string[]): FuzzCommand | undefined {
  const { values } = parseArgs({
    // npm and pnpm differ in whether they pass the "--" on.
    args: args.filter((argument) => argument !== '--'),
    options: {
      cases: { type: 'string', default: String(CASES_DEFAULT) },
      examples: { type: 'string', default: String(EXAMPLES_DEFAULT) },
      seed: { type: 'string' },
      round: { type: 'string', default: '0' },
      schemathesis: { type: 'boolean', default: false },
      out: { type: 'string' },
      note: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  if (values.round !== '0' && values.seed === undefined)
    throw new UsageError('--round needs the --seed that it is of.');
  return {
    kind: values.schemathesis ? 'schemathesis' : 'own',
    cases: readWholeNumber('cases', values.cases, { max: CASES_MAX }),
    examples: readWholeNumber('examples', values.examples, { max: EXAMPLES_MAX }),
    seed: values.seed === undefined ? drawSeed() : readWholeNumber('seed', values.seed, { min: 0, max: SEED_MAX }),
    round: readWholeNumber('round', values.round, { min: 0, max: CASES_MAX }),
    out: values.out,
    note: values.note,
  };
}

function drawSeed(): number {
  return Math.floor(Math.random() * SEED_MAX);
}
