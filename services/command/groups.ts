import { type Command, Option } from 'commander';

/** What stands beside each group in the help. */
const GROUPS: Readonly<Record<string, string>> = {
  timers: 'Timers',
  runs: 'Runs of workflows',
  workflows: 'Workflows and their versions',
  schedules: 'What recurs',
  signals: 'What runs wait for',
  'dead-letters': 'Timers with no attempts left',
  bulk: 'Operations on many timers or runs',
  workers: 'Our workers, and the pull workers of customers',
  schedulers: 'Schedulers and their partitions',
  queues: 'Queues between schedulers and workers, and of pull workers',
  origins: 'Endpoints, as a whole',
  gates: 'What is paused as a whole',
  limits: 'Bounds of what runs at once',
  tenants: 'Tenants and their limits',
  'signing-secrets': "Secrets that sign a tenant's requests",
  'api-keys': 'API keys',
  'audit-log': 'Who changed what',
  delays: 'When a delay would end',
  config: 'Settings of services',
};

/** The command that stands under these words, made with its group where it is not there. */
export function addCommand(program: Command, words: string, summary: string): Command {
  const steps = words.split(' ');
  const name = steps.pop()!;
  let parent = program;
  for (const step of steps) {
    const known = parent.commands.find((other) => other.name() === step);
    parent = known ?? parent.command(step).description(GROUPS[step] ?? '');
  }
  return parent.command(name).description(summary);
}

/** Options of every command that asks the api. */
export function addCommon(command: Command): Command {
  return command
    .option('--json', 'the answer as JSON')
    .option('-q, --quiet', 'ids alone, one a line')
    .addOption(new Option('--url <url>', 'where the api is, in place of PUNCTUAL_URL'));
}
