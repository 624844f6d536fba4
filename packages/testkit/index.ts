export { BACKENDS, createTestQueue, type TestQueue } from './backends.ts';
export { createTestLogger } from './logger.ts';
export { type Proxy, startProxy } from './proxy.ts';
export { type Answer, type ReceivedRequest, type Receiver, startReceiver } from './receiver.ts';
export { beginRuns, storeWorkflow } from './runs.ts';
export { createTestDatabase, readTestServers, type TestDatabase } from './test-database.ts';
export { makeTimer, TEST_PARTITION_COUNT } from './timers.ts';
export { useTestDatabase } from './use-test-database.ts';
export { waitUntil } from './wait-until.ts';
