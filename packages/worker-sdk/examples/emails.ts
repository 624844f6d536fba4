// A worker of two queues. Run it with `PUNCTUAL_URL=http://127.0.0.1:8088 node packages/worker-sdk/examples/emails.ts`.
import { hostname } from 'node:os';
import { FinalError, PullWorker } from '../index.ts';

const { PUNCTUAL_URL = 'http://127.0.0.1:8088', PUNCTUAL_API_KEY, WORKER_ID = `emails-${hostname()}` } = process.env;

const worker = new PullWorker({
  url: PUNCTUAL_URL,
  ...(PUNCTUAL_API_KEY !== undefined && { apiKey: PUNCTUAL_API_KEY }),
  // The same after a restart, so that it gets back what it was doing.
  workerId: WORKER_ID,
  leaseSeconds: 10,
  onError: (error, task) => console.error(task?.id ?? '-', error instanceof Error ? error.message : error),
});

worker.handle(
  'emails',
  async (task) => {
    const { to } = task.payload as { to?: string };
    if (to === undefined) throw new FinalError('there is nobody to write to');
    console.log(`sent ${task.id} to ${to}, attempt ${task.attempt}`);
    return { sentTo: to };
  },
  { concurrency: 20 },
);

worker.handle('slow', async (task) => {
  const { ms } = task.payload as { ms: number };
  console.log(`began ${task.id}, attempt ${task.attempt}`);
  await new Promise((resolve) => setTimeout(resolve, ms));
  console.log(`ended ${task.id}, attempt ${task.attempt}`);
});

worker.start().stopOnSignals();
console.log(`worker ${worker.workerId} is running`);
