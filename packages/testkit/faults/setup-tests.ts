// A set-up file of vitest: the services that a test file runs in its own process fail now and then, and so do those that it
// starts as processes of their own.
import { relative } from 'node:path';
import { expect } from 'vitest';
import { injectDatabaseFaults } from './database-faults.ts';
import { openInjector } from './injector.ts';
import { injectRedisFaults } from './redis-faults.ts';
import { FAULTS_FILE, listFaultEnvironment, readFaultSettings } from './settings.ts';

const settings = readFaultSettings();
if (settings) {
  const file = relative(process.cwd(), expect.getState().testPath ?? 'test');
  process.env[FAULTS_FILE] = file;
  Object.assign(process.env, listFaultEnvironment());
  const injector = openInjector(settings, file);
  injectDatabaseFaults(injector);
  injectRedisFaults(injector);
}
