export {
  type AnswerChecker,
  type ApiDocument,
  type ApiOperation,
  type CheckedAnswer,
  createAnswerChecker,
  createOperationFinder,
  type JsonSchema,
} from './answer-checker.ts';
export { BACKENDS, createTestQueue, type TestQueue } from './backends.ts';
export { takeBaseBackup } from './base-backup.ts';
export { type Canary, startCanary } from './canary.ts';
export { TEST_CONNECTION_NAME } from './connection-name.ts';
export { type DnsAnswer, type DnsServer, startDnsServer } from './dns-server.ts';
export { emptyRedis } from './empty-redis.ts';
export { makeKeyring, NEWER_TEST_KEYS, TEST_KEYS } from './encryption.ts';
export { pauseFaults, resumeFaults, withoutFaults } from './faults/injector.ts';
export { repeatUnderFaults } from './faults/repeat.ts';
export { areFaultsInjected, listFaultEnvironment } from './faults/settings.ts';
export { GOOD_CERTIFICATE, SELF_SIGNED_CERTIFICATE, TEST_AUTHORITY, TEST_KEY } from './hostile/certificates.ts';
export {
  HOSTILE_TIMEOUT_MS_MAX,
  type HostileEndpoint,
  type HostileEndpoints,
  type HostileStats,
  startHostileEndpoints,
} from './hostile/hostile-endpoints.ts';
export { type HostileProcess, startHostileProcess } from './hostile/hostile-process.ts';
export { createTestLogger } from './logger.ts';
export { TEST_ORIGIN } from './origin.ts';
export { sendPersistently } from './persistent-client.ts';
export { type Disturbance, type ServerProxy, startProxy } from './proxy.ts';
export { queryServer } from './query-server.ts';
export { createRandom } from './random.ts';
export { type Answer, type ReceivedRequest, type Receiver, startReceiver } from './receiver.ts';
export { askRedis, type RedisCluster, readClusterInfo, startRedisCluster } from './redis-cluster.ts';
export { beginRuns, storeWorkflow } from './runs.ts';
export { fillPath, SENSIBLE_BODIES, SENSIBLE_QUERIES } from './sensible-requests.ts';
export { stopAutovacuum } from './stop-autovacuum.ts';
export { createEmptyDatabase, createTestDatabase, readTestServers, type TestDatabase } from './test-database.ts';
export { makeStarted, makeTimer, TEST_PARTITION_COUNT, waitUntilDue } from './timers.ts';
export { useTestDatabase } from './use-test-database.ts';
export { waitUntil } from './wait-until.ts';
