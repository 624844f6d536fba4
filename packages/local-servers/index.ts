export { keepEncryptionKeys, makeEncryptionKeys, readEncryptionKeys } from './encryption-key-file.ts';
export { findFreePort } from './free-port.ts';
export {
  type GuardedProcess,
  type GuardedProcessOptions,
  type ProcessExit,
  startGuardedProcess,
} from './guarded-process.ts';
export { LocalServerError, type LocalServerErrorCode } from './local-server-error.ts';
export { listNodeEnvironment } from './node-environment.ts';
export { type PostgresOptions, type RunningPostgres, startPostgres } from './postgres.ts';
export { createDatabase, dropDatabase } from './postgres-database.ts';
export { type RedisOptions, type RunningRedis, startRedis } from './redis.ts';
export { findOrInstallRedisServer } from './redis-program.ts';
export { describeExit, type RunningService, type ServiceOptions, startService } from './service-process.ts';
export { type RunningStack, type ServiceKind, type StackOptions, startStack } from './stack.ts';
export type { StackServer } from './stack-servers.ts';
export { canInstallPackages, findProgram, installPackage } from './system-packages.ts';
export { startTestServers, type TestServers } from './test-servers.ts';
