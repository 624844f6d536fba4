import { parseArgs } from 'node:util';
import { describeOrigin, openCommand, readWholeNumber, UsageError, writeReport } from '@punctual/loadtest-command';
import { BREAKAGES, type Breakage } from './breakages.ts';
import { CASES } from './cases/index.ts';
import type { ChaosCase } from './chaos-case.ts';
import { formatBreakages, formatReport, type TriedBreakage } from './report.ts';
import { type CaseResult, type RunOptions, runCase } from './run-case.ts';

const USAGE = `Runs the real services as processes under a steady load of creates, edits, cancels and fires, causes a fault, heals
it, and judges by the receivers' log and the API's answers what became of every timer.

  npm run chaos                      every case; an hour or so
  npm run chaos -- kill freeze:redis     those whose name is, or begins with, one of these
  npm run chaos -- --short none      less of each

  --list        print all cases and end, or all defects with --broken
  --short       the short form of each case
  --seed N      makes the same choices again (a new one each time)
  --rate N      new timers a second, where the case does not say (100)
  --rounds N    each case so often, each with the next seed (1)
  --broken      put defects into the services on purpose, one after the other: each must turn its case red; with the
                names of defects, only those
  --out NAME    write NAME.json and NAME.md, too

The exit code is 1 when a guarantee was broken, or a defect was not noticed.`;

const LIMITS = { seed: 2 ** 31, rate: 2_000, rounds: 1_000 };
const RATE_DEFAULT = 100;

interface Options extends Omit<RunOptions, 'log'> {
  cases: readonly ChaosCase[];
  breakages: readonly Breakage[];
  isList: boolean;
  isBroken: boolean;
  rounds: number;
  out: string | undefined;
}

function readOptions(args: readonly string[]): Options | undefined {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      list: { type: 'boolean', default: false },
      short: { type: 'boolean', default: false },
      broken: { type: 'boolean', default: false },
      seed: { type: 'string' },
      rate: { type: 'string', default: String(RATE_DEFAULT) },
      rounds: { type: 'string', default: '1' },
      out: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return undefined;
  const read = (name: keyof typeof LIMITS, text: string) => readWholeNumber(name, text, { max: LIMITS[name] });
  return {
    cases: values.broken ? [] : chooseNamed('case', CASES, positionals),
    breakages: values.broken ? chooseNamed('defect', BREAKAGES, positionals) : [],
    isList: values.list,
    isShort: values.short,
    isBroken: values.broken,
    seed: values.seed === undefined ? 1 + Math.floor(Math.random() * (LIMITS.seed - 1)) : read('seed', values.seed),
    rate: read('rate', values.rate),
    rounds: read('rounds', values.rounds),
    out: values.out,
  };
}

function chooseNamed<Item extends { name: string }>(
  what: string,
  all: readonly Item[],
  wanted: readonly string[],
): readonly Item[] {
  // A whole name means that one alone, although others may begin with it.
  const isNamed = ({ name }: Item, begin: string) =>
    all.some((item) => item.name === begin) ? name === begin : name.startsWith(begin);
  const unknown = wanted.find((begin) => !all.some((item) => isNamed(item, begin)));
  if (unknown !== undefined) throw new UsageError(`There is no ${what} "${unknown}"; --list prints them.`);
  return wanted.length === 0 ? all : all.filter((item) => wanted.some((begin) => isNamed(item, begin)));
}

const log = (line: string) => process.stderr.write(`${line}\n`);

async function main(args: readonly string[]): Promise<number> {
  const options = openCommand(args, USAGE, readOptions);
  if (typeof options === 'number') return options;
  if (options.isList) {
    for (const { name, summary } of options.isBroken ? options.breakages : CASES)
      console.log(`${name.padEnd(34)} ${summary}`);
    return 0;
  }
  return options.isBroken ? tryBreakages(options, args) : tryCases(options, args);
}

async function tryCases(options: Options, args: readonly string[]): Promise<number> {
  const results: CaseResult[] = [];
  const left: string[] = [];
  let failures = 0;
  const origin = describeOrigin('chaos', args);
  // After each case: an hour's results are not to be lost with the last one.
  const report = () => {
    const text = formatReport(origin, results, left);
    if (options.out !== undefined) writeReport(options.out, text, { ...origin, results, left });
    return text;
  };
  for (const [index, chaosCase] of options.cases.entries()) {
    for (let round = 0; round < options.rounds; round += 1) {
      const obstacle = chaosCase.findObstacle?.();
      if (obstacle !== undefined) {
        left.push(`${chaosCase.name}: not run. ${obstacle}`);
        continue;
      }
      const seed = options.seed + round;
      log(`${index + 1}/${options.cases.length} ${chaosCase.name} (seed ${seed}): ${chaosCase.summary} …`);
      const result = await runCase(chaosCase, { ...options, seed, log }).catch((error: unknown) => String(error));
      if (typeof result === 'string') {
        failures += 1;
        left.push(`${chaosCase.name}: given up. ${result}`);
        log(`  given up: ${result}`);
        continue;
      }
      results.push(result);
      report();
      log(`  ${describeResult(result)}`);
      for (const { check, text } of result.offences) log(`  ${check}: ${text}`);
    }
  }
  console.log(report());
  return failures === 0 && results.every(({ offences }) => offences.length === 0) ? 0 : 1;
}

function describeResult({ acknowledged, repeats, recoveryMs, offences, seconds }: CaseResult): string {
  const verdict = offences.length === 0 ? 'held' : `${offences.length} OFFENCES`;
  const recovery = recoveryMs === undefined ? '' : `, last overdue one ${Math.round(recoveryMs)} ms after the heal`;
  return `${verdict}: ${acknowledged} timers, ${repeats} repeats${recovery} (${seconds} s)`;
}

/** Runs a case with a defect in every service; resolves to whether the check that should have noticed did. */
export async function isNoticed(breakage: Breakage, options: RunOptions): Promise<{ isRed: boolean; seen: string[] }> {
  const chaosCase = CASES.find(({ name }) => name === breakage.case);
  if (chaosCase === undefined) throw new Error(`there is no case ${breakage.case}`);
  const { edits } = breakage;
  const { offences } = await runCase(
    { ...chaosCase, tweaks: () => ({ api: { edits }, scheduler: { edits }, worker: { edits } }) },
    options,
  );
  return {
    isRed: offences.some(({ check }) => check === breakage.check),
    seen: offences.map(({ check, text }) => `${check}: ${text}`),
  };
}

async function tryBreakages(options: Options, args: readonly string[]): Promise<number> {
  const tried: TriedBreakage[] = [];
  for (const breakage of options.breakages) {
    log(`${breakage.name}: ${breakage.summary}; ${breakage.case} must show "${breakage.check}" …`);
    // One whose text has changed, or whose services do not start, says nothing about the others.
    const result = await isNoticed(breakage, { ...options, isShort: true, log }).catch((error: unknown) => ({
      isRed: false,
      seen: [`given up. ${error}`],
    }));
    const { isRed } = result;
    const seen = result.seen.find((text) => !isRed || text.startsWith(`${breakage.check}:`)) ?? 'nothing at all';
    tried.push({ breakage, isRed, seen });
    log(`  ${isRed ? seen : `NOT NOTICED: ${seen}`}`);
  }
  const origin = describeOrigin('chaos', args);
  const report = formatBreakages(origin, tried);
  console.log(report);
  if (options.out !== undefined) writeReport(options.out, report, { ...origin, tried });
  return tried.every(({ isRed }) => isRed) ? 0 : 1;
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
