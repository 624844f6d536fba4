import { Redis } from 'ioredis';

/** Makes a Redis forget everything, as after a crash without a file: what Punctual must bear at any moment. */
export async function emptyRedis(url: string): Promise<void> {
  const redis = new Redis(url);
  try {
    await redis.flushall();
  } finally {
    await redis.quit();
  }
}
