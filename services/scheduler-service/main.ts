import { runService } from '@punctual/runtime';
import { readSchedulerConfig } from './config.ts';
import { startScheduler } from './scheduler.ts';

await runService({
  name: 'punctual-scheduler',
  readConfig: () => readSchedulerConfig(process.env),
  start: (config, logger) => startScheduler({ config, logger }),
});
