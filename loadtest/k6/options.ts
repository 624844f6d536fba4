import { isIP } from 'node:net';
import { parseArgs } from 'node:util';
import { readWholeNumber, UsageError } from '@punctual/loadtest-command';
import { type Limits, SPIKE_FACTOR } from './scripts/plan.ts';

/** The default rates leave a machine of two cores, which k6 shares with all it measures, half idle. */
export const SCENARIOS = {
  create: { rate: 200, seconds: 20, answerP95Ms: 250, latenessP95Ms: 500 },
  mixed: { rate: 200, seconds: 20, answerP95Ms: 250, latenessP95Ms: 500 },
  // Ten times as much for ten seconds: it may be slower meanwhile, but loses nothing.
  spike: { rate: 60, seconds: 20, answerP95Ms: 1_000, latenessP95Ms: 2_000 },
  soak: { rate: 100, seconds: 30, answerP95Ms: 250, latenessP95Ms: 500, driftMs: 250 },
} as const satisfies Record<string, Limits & { rate: number; seconds: number }>;

export type ScenarioName = keyof typeof SCENARIOS;
export const SCENARIO_NAMES = Object.keys(SCENARIOS) as ScenarioName[];

/** `TIMERS_MAX` bounds what the proof holds in memory: some 1 KB a timer. A soak of three hours at 90/s fits. */
const TIMERS_MAX = 1_000_000;
const LIMITS = {
  rate: { min: 1, max: 5_000 },
  seconds: { min: 4, max: 86_400 },
  'answer-ms': { min: 1, max: 60_000 },
  'lateness-ms': { min: 1, max: 600_000 },
  schedulers: { min: 1, max: 32 },
  workers: { min: 1, max: 32 },
} as const;

export const USAGE = `Puts load on Punctual with k6 and then proves, timer by timer, that every guarantee was kept.

  npm run loadtest                      create, mixed, spike and soak, one after the other: under three minutes
  npm run loadtest -- create            constant rate of creates
  npm run loadtest -- mixed             creates, changes, cancels and reads, close to the due times
  npm run loadtest -- spike             ${SPIKE_FACTOR} times the rate for the middle half of the time
  npm run loadtest -- soak --seconds N  the mix for as long as you like

  --rate N          iterations a second (${listDefaults('rate')}; of spike: around it)
  --seconds N       how long (${listDefaults('seconds')})
  --answer-ms N     limit for the 95th percentile of a create's answer (${listDefaults('answerP95Ms')})
  --lateness-ms N   limit for the 95th percentile of lateness (${listDefaults('latenessP95Ms')})
  --url URL         an api of this machine that runs already; by default a stack is started and thrown away
  --key-file PATH   holds the API key for it: an operator's, because the proof reads the ledger
  --schedulers N    processes of the stack (1)
  --workers N       processes of the stack (1)
  --out NAME        write NAME.json and NAME.md, too
  --note TEXT       a remark for NAME.md: what else ran on the machine, say
  --help            print this

k6 is taken from the PATH, else built with Go. The exit code is 1 when a threshold failed, 2 when the arguments make no
sense.`;

function listDefaults(name: 'rate' | 'seconds' | 'answerP95Ms' | 'latenessP95Ms'): string {
  return Object.values(SCENARIOS)
    .map((scenario) => scenario[name])
    .join(', ');
}

export interface ScenarioPlan {
  name: ScenarioName;
  rate: number;
  seconds: number;
  limits: Limits;
}

export interface LoadtestOptions {
  scenarios: ScenarioPlan[];
  /** Of an api that runs already, without a slash at the end; absent: a stack is started. */
  url?: string;
  keyFile?: string;
  schedulers: number;
  workers: number;
  out?: string;
  note?: string;
}

/** Undefined when help is asked for. Throws `UsageError`, or what `parseArgs` throws. */
export function readOptions(args: readonly string[]): LoadtestOptions | undefined {
  const text = { type: 'string' } as const;
  const { values, positionals } = parseArgs({
    // npm and pnpm differ in whether they pass the "--" on.
    args: args.filter((argument) => argument !== '--'),
    allowPositionals: true,
    options: {
      rate: text,
      seconds: text,
      'answer-ms': text,
      'lateness-ms': text,
      url: text,
      'key-file': text,
      schedulers: text,
      workers: text,
      out: text,
      note: text,
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) return undefined;
  const read = (name: keyof typeof LIMITS): number | undefined => {
    if (values[name] === undefined) return undefined;
    return readWholeNumber(name, values[name], LIMITS[name]);
  };
  const { url, note, out, 'key-file': keyFile } = values;
  if (url !== undefined && (values.schedulers ?? values.workers) !== undefined) {
    throw new UsageError('--schedulers and --workers are for a stack that is started here, not for one with a --url.');
  }
  if (keyFile !== undefined && url === undefined) throw new UsageError('--key-file goes with --url.');
  const names = positionals.length === 0 ? SCENARIO_NAMES : positionals.map(checkName);
  return {
    scenarios: names.map((name) => {
      const { rate, seconds, ...limits } = SCENARIOS[name];
      const plan: ScenarioPlan = {
        name,
        rate: read('rate') ?? rate,
        seconds: read('seconds') ?? seconds,
        limits: {
          ...limits,
          answerP95Ms: read('answer-ms') ?? limits.answerP95Ms,
          latenessP95Ms: read('lateness-ms') ?? limits.latenessP95Ms,
        },
      };
      if (countIterations(plan) > TIMERS_MAX) {
        throw new UsageError(`${name} would make more than ${TIMERS_MAX} requests: lower --rate or --seconds.`);
      }
      return plan;
    }),
    ...(url === undefined ? {} : { url: checkUrl(url) }),
    ...(keyFile === undefined ? {} : { keyFile }),
    schedulers: read('schedulers') ?? 1,
    workers: read('workers') ?? 1,
    ...(out === undefined ? {} : { out }),
    ...(note === undefined ? {} : { note }),
  };
}

/** How many iterations a scenario begins. */
function countIterations({ name, rate, seconds }: ScenarioPlan): number {
  const meanFactor = name === 'spike' ? (1 + SPIKE_FACTOR) / 2 : 1;
  return rate * seconds * meanFactor;
}

function checkName(name: string): ScenarioName {
  const known = SCENARIO_NAMES.find((scenario) => scenario === name);
  if (known !== undefined) return known;
  throw new UsageError(`There is no scenario "${name}"; there are ${SCENARIO_NAMES.join(', ')}.`);
}

/**
 * Load for another machine's api is refused: the receiver listens on this machine alone, and a load test that a slip
 * of the hand turns against production is no test.
 */
function checkUrl(text: string): string {
  const url = URL.parse(text);
  const host = url?.hostname ?? '';
  const isLoopback = host === 'localhost' || host === '[::1]' || (isIP(host) === 4 && host.startsWith('127.'));
  if (url?.protocol === 'http:' && isLoopback) return url.origin;
  throw new UsageError('--url must be the http URL of an api on this machine, like http://127.0.0.1:8088.');
}
