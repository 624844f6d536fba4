// A pull worker as a customer would run it. Each line that it prints is one event, as JSON.
import { PullWorker } from '@punctual/worker-sdk';

const { PUNCTUAL_URL: url = '', WORKER_ID: workerId = '', QUEUES = '', LEASE_SECONDS = '30' } = process.env;
const say = (event: object) => process.stdout.write(`${JSON.stringify({ at: Date.now(), ...event })}\n`);

const worker = new PullWorker({
  url,
  workerId,
  leaseSeconds: Number(LEASE_SECONDS),
  waitSeconds: 10,
  onError: (error) => say({ event: 'error', text: String(error) }),
});
for (const queue of QUEUES.split(',')) {
  worker.handle(
    queue,
    async ({ id, attempt, payload, taskKey }) => {
      say({ event: 'began', id, attempt });
      const { ms = 0, failOnce = false } = (payload ?? {}) as { ms?: number; failOnce?: boolean };
      if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms));
      if (failOnce && attempt === 1) throw new Error('the first attempt fails');
      say({ event: 'ended', id, attempt });
      return { of: taskKey ?? id };
    },
    { concurrency: 50 },
  );
}
worker.start().stopOnSignals();
say({ event: 'ready' });
