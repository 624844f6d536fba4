import { Argument, type Command } from 'commander';
import { EXIT } from './exit-codes.ts';
import { addCommand } from './groups.ts';
import { print, type Terminal } from './terminal.ts';

const SERVICES = ['api', 'scheduler', 'worker', 'standalone'] as const;

/** Names that begin so are meant for us. */
const OURS = /^(?:API|SCHEDULER|WORKER|RETENTION|EGRESS|PUNCTUAL)_/;

/** `punctual config check [service]`: reads the environment as the services do, and tells all faults at once. */
export function addConfigCheck(program: Command, terminal: Terminal, finish: (exitCode: number) => void): void {
  const command = addCommand(program, 'config check', 'Read the environment as services do, and tell all its faults');
  command
    .addArgument(new Argument('[service]', 'which one; without, api, scheduler and worker').choices(SERVICES))
    .option('--json', 'the findings as JSON')
    .action(async (service: (typeof SERVICES)[number] | undefined) => {
      // The services take half a second to load, which no other command needs.
      const { findSettingFaults, listSettings } = await import('@punctual/standalone');
      const { environment } = terminal;
      const services = service === undefined ? (['api', 'scheduler', 'worker'] as const) : [service];
      const found = services.map((name) => ({ service: name, faults: findSettingFaults(name, environment) }));
      const known = new Set([...listSettings(), 'PUNCTUAL_URL', 'PUNCTUAL_API_KEY']);
      const unknown = Object.keys(environment).filter((name) => OURS.test(name) && !known.has(name));
      const isGood = found.every(({ faults }) => faults.length === 0);
      if (command.opts<{ json?: boolean }>().json) {
        print(terminal, JSON.stringify({ isGood, services: found, unknown }, null, 2));
      } else {
        for (const { service: name, faults } of found) {
          print(
            terminal,
            faults.length === 0 ? `${name}: good` : `${name}:\n${faults.map((fault) => `  ${fault}`).join('\n')}`,
          );
        }
        if (unknown.length > 0)
          print(terminal, `No service reads: ${unknown.toSorted().join(', ')}. Is it misspelled?`);
        if (!isGood) print(terminal, 'Every setting is described in docs/configuration.md.');
      }
      finish(isGood ? EXIT.done : EXIT.bad);
    });
}
