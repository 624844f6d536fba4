import type { QueueInfo } from '@punctual/contracts';

/** How long a caller waits for the queue (ms): less than a health check may take. */
const QUEUE_ANSWER_TIMEOUT_MS = 1_500;

/**
 * Wraps a read of the queues' figures so that it ends: while a backend is away the client library may wait for it for
 * ever. At most one read is under way, however many ask, so nothing piles up meanwhile.
 */
export function boundQueueReads(read: () => Promise<QueueInfo[]>): () => Promise<QueueInfo[]> {
  let underWay: Promise<QueueInfo[]> | undefined;
  return async () => {
    underWay ??= read().finally(() => {
      underWay = undefined;
    });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(
        () => reject(new Error(`The queue did not answer within ${QUEUE_ANSWER_TIMEOUT_MS} ms.`)),
        QUEUE_ANSWER_TIMEOUT_MS,
      );
    });
    try {
      return await Promise.race([underWay, late]);
    } finally {
      clearTimeout(timer);
    }
  };
}
