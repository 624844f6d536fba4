import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { forEachConcurrently, type Problem, send, type Timer } from '../api-client.ts';

export interface EqualPosts {
  keys: number;
  /** Requests with one key and one body, sent at the same time. */
  copies: number;
  keysAtOnce: number;
}

export interface EqualPostsReport {
  /** Ids of the timers that were made, as the clients were told. */
  ids: Set<string>;
  /** Answers that asked the client to come again, because the first request was under way. */
  conflicts: number;
  /** Answers that nobody can answer just now: none but while faults are injected. */
  refusals: number;
  /** Keys whose requests did not all get one and the same answer, and answers that were none. */
  faults: string[];
}

/** Due after everything: nothing but the creation happens to these timers. */
const DELAY = { type: 'duration', value: 1, unit: 'days' };
/** Between two tries of one whose first request is under way (ms): sooner than it is told, to be a nuisance. */
const PAUSE_MS = 50;
/** A request is under way for milliseconds; so many in a row mean that one never ends. */
const TRIES_MAX = 200;

/** Sends each of many requests many times at once, to several apis in turn, and compares the answers. */
export async function sendEqualPosts(
  apiUrls: readonly string[],
  { keys, copies, keysAtOnce }: EqualPosts,
  onKey: () => void = () => {},
): Promise<EqualPostsReport> {
  const report: EqualPostsReport = { ids: new Set(), conflicts: 0, refusals: 0, faults: [] };
  const sendOne = async (key: string, body: unknown, copy: number): Promise<string> => {
    for (let tries = 0; tries < TRIES_MAX; tries += 1) {
      const url = `${apiUrls[(copy + tries) % apiUrls.length]}/v1/timers`;
      const answer = await send<Timer | Problem>(url, 'POST', body, { 'idempotency-key': key });
      if (answer.status === 409 && (answer.body as Problem).code === 'idempotency_in_progress') report.conflicts += 1;
      else if (answer.status === 503) report.refusals += 1;
      else {
        if (answer.status === 201) report.ids.add((answer.body as Timer).id);
        return JSON.stringify([answer.status, answer.headers.get('location'), answer.body]);
      }
      await sleep(PAUSE_MS);
    }
    return 'a wait that never ends';
  };
  const run = randomUUID();
  await forEachConcurrently(
    Array.from({ length: keys }, (_, n) => n),
    keysAtOnce,
    async (n) => {
      const body = { delay: DELAY, action: { type: 'noop' }, payload: { n } };
      const sent = Array.from({ length: copies }, (_, copy) => sendOne(`${run}-${n}`, body, copy));
      const answers = new Set(await Promise.all(sent));
      const [answer] = answers;
      if (answers.size !== 1 || !answer!.startsWith('[201,'))
        report.faults.push(`key ${n}: ${[...answers].join(' or ')}`);
      onKey();
    },
  );
  return report;
}
