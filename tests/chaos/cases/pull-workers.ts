import { setTimeout as sleep } from 'node:timers/promises';
import { forEachConcurrently, type Program, readPullEvents, startPullProgram, type Timer } from '@punctual/e2e';
import type { CaseContext, ChaosCase } from '../chaos-case.ts';
import { judgePulledTasks, type PulledTask, type PullLog } from '../judge/judge-workflows.ts';
import { killDuring } from './kills.ts';

const QUEUE = 'chaos';
const TASKS = 3_000;
const TASKS_SHORT = 150;
/** Between the first requests of two tasks (ms). */
const TASK_INTERVAL_MS = 30;
/** From creation to due, and under way, at most (ms). */
const DELAY_MAX_MS = 2_000;
const WORK_MAX_MS = 400;
/** Of workers that do not come back: what they had is another's so long after its last heartbeat (s). */
const MORTAL_LEASE_SECONDS = 5;
/** Of the one that comes back under its name, which need not wait for its end (s). */
const PHOENIX_LEASE_SECONDS = 15;
/** Between two kills of workers (ms). */
const LIFE_MAX_MS = 3_000;
const READS_AT_ONCE = 8;

/** Workers of the customer that are killed, for good or to come back under their names, beside apis that are killed as well. */
export const pullWorkers: readonly ChaosCase[] = [
  {
    name: 'pull:kills',
    summary: `${TASKS.toLocaleString('en')} tasks for pull workers, which are killed by turns, for good or to come back, as the apis are`,
    isInTests: true,
    system: { api: 2 },
    allowsRepeats: true,
    async fault(context) {
      const fleet = new PullFleet(context.apiUrls);
      context.closeAfterwards(() => fleet.stop());
      const ids: string[] = [];
      let isOver = false;
      const work = Promise.all([
        putTasks(context, ids).finally(() => {
          isOver = true;
        }),
        fleet.killByTurns(context.random, () => isOver),
      ]);
      await killDuring(context, ['api', 'scheduler'], work);
      context.judgeAtEnd(async ({ api }) => {
        const tasks: PulledTask[] = [];
        await forEachConcurrently(ids, READS_AT_ONCE, async (id) => {
          const timer = await api.expect<Timer & { finishedAt?: string }>([200], 'GET', `/v1/timers/${id}`);
          const { data } = await api.expect<{ data: { outcome: string }[] }>([200], 'GET', `/v1/timers/${id}/attempts`);
          const lost = data.filter(({ outcome }) => outcome === 'lost').length;
          const { status, attempt, dueAt, finishedAt = '' } = timer;
          tasks.push({ id, status, attempt, dueAt: Date.parse(dueAt), finishedAt: Date.parse(finishedAt), lost });
        });
        return judgePulledTasks(tasks, fleet.readLogs());
      });
    },
  },
];

/** Asks for each when it is planned, however slow the answers are. */
async function putTasks({ traffic: { asker }, random, choose }: CaseContext, ids: string[]): Promise<void> {
  const puts: Promise<void>[] = [];
  const put = async (n: number) => {
    const answer = await asker.ask<{ id: string }>('POST', '/v1/timers', [200, 201], {
      dueAt: new Date(Date.now() + random() * DELAY_MAX_MS).toISOString(),
      action: { type: 'pull', queue: QUEUE },
      payload: { ms: Math.round(random() * WORK_MAX_MS) },
      externalId: `pull-${n}`,
    });
    if (answer !== undefined) ids.push(answer.body.id);
  };
  for (let n = 0; n < choose(TASKS, TASKS_SHORT); n += 1) {
    puts.push(put(n));
    await sleep(TASK_INTERVAL_MS);
  }
  await Promise.all(puts);
}

interface Member {
  program: Program;
  killedAt: number | undefined;
}

/** Two workers at any time: one that always comes back under its name, and one whose place another takes. */
class PullFleet {
  readonly #apiUrls: readonly string[];
  readonly #members: Member[] = [];
  #phoenix: Member;
  #mortal: Member;

  constructor(apiUrls: readonly string[]) {
    this.#apiUrls = apiUrls;
    this.#phoenix = this.#start('phoenix', PHOENIX_LEASE_SECONDS);
    this.#mortal = this.#start('mortal-1', MORTAL_LEASE_SECONDS);
  }

  async killByTurns(random: () => number, isOver: () => boolean): Promise<void> {
    for (let turn = 0; !isOver(); turn += 1) {
      await sleep(random() * LIFE_MAX_MS);
      const killed = turn % 2 === 0 ? this.#phoenix : this.#mortal;
      killed.killedAt = Date.now();
      killed.program.kill('SIGKILL');
      await killed.program.exited;
      if (turn % 2 === 0) this.#phoenix = this.#start('phoenix', PHOENIX_LEASE_SECONDS);
      else this.#mortal = this.#start(`mortal-${turn + 1}`, MORTAL_LEASE_SECONDS);
    }
  }

  readLogs(): PullLog[] {
    return this.#members.map(({ program, killedAt }) => ({ events: readPullEvents(program), killedAt }));
  }

  async stop(): Promise<void> {
    for (const { program } of this.#members) program.kill('SIGKILL');
    await Promise.all(this.#members.map(({ program }) => program.exited));
  }

  #start(workerId: string, leaseSeconds: number): Member {
    const url = this.#apiUrls[this.#members.length % this.#apiUrls.length]!;
    const program = startPullProgram({ url, workerId, queue: QUEUE, leaseSeconds });
    const member = { program, killedAt: undefined };
    this.#members.push(member);
    return member;
  }
}
