export { type BackendName, migrateQueue, nameBackend, type Processed, type QueueConnection } from './backend.ts';
export { decodeChunk, encodeChunk, type Hint, TIMERS_PER_CHUNK_MAX } from './chunk.ts';
export { ChunkConsumer } from './chunk-consumer.ts';
export { ChunkQueue, type QueueFigures } from './chunk-queue.ts';
export { nameChunkQueue, QUEUE_SCHEMA, REDIS_PREFIX_DEFAULT } from './names.ts';
export { describeOutage, findQueueFaults } from './queue-faults.ts';
export { parseRedisUrl, type RedisAddress, RedisUrlError } from './redis-address.ts';
