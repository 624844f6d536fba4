// Loaded into a service's process before anything else (`node --import`): its clients of Postgres and Redis fail now and
// then from the first request on: it has started by then. A start that fails is a start that is refused, and nothing is
// learnt by that.
import { subscribe } from 'node:diagnostics_channel';
import { basename, dirname } from 'node:path';
import { injectDatabaseFaults } from './database-faults.ts';
import { openInjector, pauseFaults, resumeFaults } from './injector.ts';
import { injectRedisFaults } from './redis-faults.ts';
import { FAULTS_FILE, readFaultSettings } from './settings.ts';

const settings = readFaultSettings();
if (settings) {
  const entry = process.argv[1] ?? 'node';
  const injector = openInjector(settings, `${process.env[FAULTS_FILE] ?? ''}-${basename(dirname(entry))}`);
  injectDatabaseFaults(injector);
  injectRedisFaults(injector);
  pauseFaults();
  let isAsked = false;
  subscribe('http.server.request.start', () => {
    if (!isAsked) resumeFaults();
    isAsked = true;
  });
}
