import { parseArgs } from 'node:util';
import { LocalServerError } from '@punctual/local-servers';
import { ConfigError, createLogger, type LogLevel, stopOnSignals, VERSION } from '@punctual/runtime';
import { completeEnvironment } from './config.ts';
import { startStandalone } from './standalone.ts';

const USAGE = `Runs all of Punctual in one process: api, scheduler, worker and an embedded Postgres.

  npm start                     keep the data in the folder .punctual
  npm start -- --ephemeral      keep nothing
  npm start -- --help           this text

Settings (environment), among others: PORT (8088), HOST (127.0.0.1), PUNCTUAL_DATA_DIR (.punctual), DATABASE_URL and
REDIS_URL to use your own servers, LOG_LEVEL (warn). All of them: docs/configuration.md`;

function describeData(data: Awaited<ReturnType<typeof startStandalone>>['data']): string {
  if (data.kind === 'folder') return `Data folder  ${data.path}`;
  return data.kind === 'database'
    ? 'Data         in the Postgres that DATABASE_URL names'
    : 'Data         kept nowhere: it is gone when this ends';
}

function describeFirstTimer(url: string): string {
  return `Make a first timer, due in five seconds (\`npm run receiver\` in another terminal shows the call):

  curl -s ${url}/v1/timers -H 'content-type: application/json' \\
    -d '{"delay":{"type":"duration","value":5,"unit":"seconds"},"action":{"type":"http","url":"http://127.0.0.1:9090/hello"},"payload":{"greeting":"hello"}}'

Ctrl-C stops everything.`;
}

function readArguments(): { isEphemeral: boolean; wantsHelp: boolean } {
  const { values } = parseArgs({ options: { ephemeral: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } });
  return { isEphemeral: values.ephemeral ?? false, wantsHelp: values.help ?? false };
}

// A port that is taken is the fault a newcomer meets first.
function explain(error: unknown): string {
  const { code, port } = (error ?? {}) as { code?: string; port?: number };
  if (code === 'EADDRINUSE')
    return `Port ${port} is in use by another program. Choose another one: PORT=${(port ?? 8088) + 1} npm start`;
  if (code === 'EACCES' && port !== undefined)
    return `Port ${port} may not be used by this user. Choose one above 1023: PORT=8088 npm start`;
  if (error instanceof ConfigError) return `${error.message}\nEvery setting is described in docs/configuration.md.`;
  if (error instanceof LocalServerError || error instanceof Error) return error.message;
  return String(error);
}

try {
  const { isEphemeral, wantsHelp } = readArguments();
  if (wantsHelp) {
    console.log(USAGE);
    process.exit(0);
  }
  const environment = completeEnvironment(process.env);
  const logger = createLogger({
    serviceName: 'punctual-standalone',
    serviceVersion: VERSION,
    level: (environment.LOG_LEVEL ?? 'warn') as LogLevel,
  });
  const standalone = await startStandalone({
    environment: process.env,
    isEphemeral,
    logger,
    onProgress: (sentence) => console.log(sentence),
  });
  stopOnSignals({
    logger,
    stop: async () => {
      console.log('Finishing what is in hand …');
      await standalone.stop();
      console.log('Stopped.');
    },
  });
  standalone.broken.catch(async (error: Error) => {
    console.error(error.message);
    process.exitCode = 1;
    await standalone.stop();
    process.exit(1);
  });
  console.log(`
Punctual ${VERSION} is running.

  API          ${standalone.url}   (health: ${standalone.url}/v1/health)
  ${describeData(standalone.data)}

${describeFirstTimer(standalone.url)}
`);
} catch (error) {
  console.error(explain(error));
  process.exit(1);
}
