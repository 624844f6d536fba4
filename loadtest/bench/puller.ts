// A worker of the customer, as a process of its own: leases the tasks of one queue and completes each at once.
//
// usage: node puller.ts <api url> <api key> <queue> <concurrency>
// It prints a line when it has begun, and answers each line of standard input with what it has done so far; `stop` ends
// it when everything in hand is done.

import { createInterface } from 'node:readline';
import { PullWorker } from '@punctual/worker-sdk';

const [url, apiKey, queue, concurrency] = process.argv.slice(2);
const seen = new Set<string>();
let repeated = 0;
const errors: string[] = [];
const ERRORS_MAX = 10;

const worker = new PullWorker({
  url: url!,
  apiKey: apiKey!,
  onError: (error) => {
    if (errors.length < ERRORS_MAX) errors.push(String(error));
  },
});
worker.handle(
  queue!,
  ({ id }) => {
    if (seen.has(id)) repeated += 1;
    seen.add(id);
  },
  { concurrency: Number(concurrency) },
);
worker.start();

const tell = (answer: object) => process.stdout.write(`${JSON.stringify(answer)}\n`);
tell({ queue });
const lines = createInterface({ input: process.stdin });
lines.on('line', async (line) => {
  if (line === 'stop') await worker.stop();
  tell({ tasks: seen.size, inHand: worker.inHand, repeated, errors });
});
lines.on('close', () => process.exit());
