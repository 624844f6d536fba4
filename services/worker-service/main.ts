import { runService } from '@punctual/runtime';
import { readWorkerConfig } from './config.ts';
import { startWorker } from './worker.ts';

await runService({
  name: 'punctual-worker',
  readConfig: () => readWorkerConfig(process.env),
  start: (config, logger) => startWorker({ config, logger }),
});
