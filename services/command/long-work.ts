import { type Command, Option } from 'commander';
import { CommandError, EXIT } from './exit-codes.ts';
import { addCommand, addCommon } from './groups.ts';
import { parseWhole } from './options.ts';
import { Progress } from './progress.ts';
import { type Item, renderTable } from './render.ts';
import { type CommonOptions, findOperation, Session } from './session.ts';
import { print, remark, type Terminal } from './terminal.ts';

/** Between two looks at what is under way (ms). */
const LOOK_INTERVAL_MS = 500;
/** How long a bulk operation is watched, a drain and a rebalance are waited for, unless told otherwise (s). */
const WATCH_SECONDS_DEFAULT = 86_400;
const DRAIN_SECONDS_DEFAULT = 120;
const REBALANCE_SECONDS_DEFAULT = 15;
const WAIT_SECONDS_MAX = 604_800;

interface Operation {
  id: string;
  status: string;
  matched: number;
  done: number;
  failed: number;
}
interface Instance {
  id: string;
  status: string;
  partitions?: number[];
  details: { attemptsInFlight?: number };
}

interface Rebalance {
  releasedPartitions: number[];
  partitionCount: number;
}

type WaitOptions = CommonOptions & { timeout: number; wait: boolean; force?: boolean };

/** Commands that stay until something is done. */
export function addLongWork(program: Command, terminal: Terminal, finish: (exitCode: number) => void): void {
  addBulkWatch(program, terminal, finish);
  addDrain(program, terminal, finish, 'worker');
  addDrain(program, terminal, finish, 'scheduler');
  addRebalance(program, terminal, finish);
  addInHand(program, terminal, finish);
}

function addTimeout(command: Command, seconds: number): Command {
  return command.addOption(
    new Option('--timeout <seconds>', 'how long to wait').default(seconds).argParser(parseWhole(1, WAIT_SECONDS_MAX)),
  );
}

function addBulkWatch(program: Command, terminal: Terminal, finish: (exitCode: number) => void): void {
  const command = addCommon(addCommand(program, 'bulk watch', 'Follow a bulk operation to its end'));
  addTimeout(command.argument('<id>'), WATCH_SECONDS_DEFAULT).action(async (id: string) => {
    const options = command.opts<WaitOptions>();
    const session = new Session(terminal, options);
    const progress = new Progress(terminal, 'bulk operation');
    const read = () => session.read<Operation>('GET /v1/bulk-operations/{id}', { params: { id } });
    let operation = await read();
    const isOver = () => !['running', 'paused'].includes(operation.status);
    const isInTime = createDeadline(options.timeout);
    try {
      while (!isOver() && isInTime()) {
        const { status, matched, done, failed } = operation;
        progress.show(done + failed, matched, `${status}${failed > 0 ? `, ${failed} failed` : ''}`);
        await pause();
        operation = await read();
      }
      progress.show(operation.done + operation.failed, operation.matched, operation.status);
    } finally {
      progress.end();
    }
    session.show(operation);
    if (!isOver()) throw new CommandError(EXIT.bad, `It has not ended within ${options.timeout} s, and goes on.`);
    finish(operation.status === 'succeeded' && operation.failed === 0 ? EXIT.done : EXIT.bad);
  });
}

function addDrain(
  program: Command,
  terminal: Terminal,
  finish: (exitCode: number) => void,
  role: 'worker' | 'scheduler',
): void {
  const route = `POST /v1/${role}s/{id}/drain`;
  const command = addCommon(
    addCommand(program, `${role}s drain`, `${findOperation(route).summary}, and wait until it is done`),
  );
  addTimeout(command.argument('<id>'), DRAIN_SECONDS_DEFAULT)
    .option('--no-wait', 'does not wait')
    .option('--force', `also the last ${role}: then nothing is done any more`)
    .option('--yes', 'does not ask')
    .action(async (id: string) => {
      const options = command.opts<WaitOptions>();
      const session = new Session(terminal, options);
      const resume = `\`punctual ${role}s resume ${id}\` takes it back.`;
      const last = options.force ? ` If it is the last ${role}, nothing is done any more.` : '';
      await session.confirm(`This drains ${role} ${id}: it takes no more work.${last} ${resume}`);
      const force = options.force === true;
      const asked = await session.read<Item>(route, { params: { id }, body: { force } });
      if (!options.wait) {
        session.show(asked);
        finish(EXIT.done);
        return;
      }
      const drained = await waitUntilDrained(session, role, id, options.timeout);
      session.show(drained);
      if (drained.status === 'draining') {
        throw new CommandError(EXIT.bad, `It still has work in hand after ${options.timeout} s, and goes on draining.`);
      }
      finish(EXIT.done);
    });
}

/** What is known of it last: one that has gone meanwhile has nothing in hand. */
async function waitUntilDrained(
  session: Session,
  role: 'worker' | 'scheduler',
  id: string,
  timeoutSeconds: number,
): Promise<{ id: string; status: string }> {
  const progress = new Progress(session.terminal, `${role} drains`);
  const isInTime = createDeadline(timeoutSeconds);
  let most = 0;
  try {
    for (;;) {
      const instance = (await listInstances(session, role)).find(
        (other) => other.id.toLowerCase() === id.toLowerCase(),
      );
      if (!instance) return { id, status: 'gone' };
      const left = instance.partitions?.length ?? instance.details.attemptsInFlight ?? 0;
      most = Math.max(most, left);
      progress.show(most - left, most, `${left} ${role === 'worker' ? 'attempts' : 'partitions'} left`);
      if (instance.status === 'drained' || !isInTime()) return { id, status: instance.status };
      await pause();
    }
  } finally {
    progress.end();
  }
}

function addRebalance(program: Command, terminal: Terminal, finish: (exitCode: number) => void): void {
  const route = 'POST /v1/schedulers/rebalance';
  const command = addCommon(addCommand(program, 'schedulers rebalance', findOperation(route).summary));
  addTimeout(command, REBALANCE_SECONDS_DEFAULT)
    .option('--no-wait', 'does not wait until the shares are equal')
    .action(async () => {
      const options = command.opts<WaitOptions>();
      const session = new Session(terminal, options);
      const { releasedPartitions, partitionCount } = await session.read<Rebalance>(route, { body: {} });
      const isInTime = createDeadline(options.timeout);
      let schedulers = await listInstances(session, 'scheduler');
      while (options.wait && !areShared(schedulers, partitionCount) && isInTime()) {
        await pause();
        schedulers = await listInstances(session, 'scheduler');
      }
      const shares = schedulers.map(({ id, status, partitions = [] }) => ({
        id,
        status,
        partitions: partitions.length,
      }));
      if (session.isJson) session.json({ releasedPartitions, schedulers: shares });
      else {
        print(terminal, `${releasedPartitions.length} partitions were given back.`);
        if (shares.length > 0) print(terminal, renderTable(shares, ['id', 'status', 'partitions']));
      }
      if (options.wait && !areShared(schedulers, partitionCount)) {
        throw new CommandError(
          EXIT.bad,
          `The shares are not equal after ${options.timeout} s: \`punctual status\` tells more.`,
        );
      }
      finish(EXIT.done);
    });
}

/** Whether those that work own all partitions, in shares that differ by one at most. */
function areShared(schedulers: readonly Instance[], partitionCount: number): boolean {
  const shares = schedulers.flatMap(({ status, partitions = [] }) => (status === 'running' ? [partitions.length] : []));
  const owned = shares.reduce((sum, share) => sum + share, 0);
  return owned === partitionCount && Math.max(...shares) - Math.min(...shares) <= 1;
}

function addInHand(program: Command, terminal: Terminal, finish: (exitCode: number) => void): void {
  const command = addCommon(addCommand(program, 'workers in-hand', 'What our workers have had in hand for longest'));
  command.action(async () => {
    const session = new Session(terminal, command.opts<CommonOptions>());
    const workers = await listInstances(session, 'worker');
    const attempts = workers.flatMap(({ id, details }) =>
      ((details as { oldestAttempts?: Item[] }).oldestAttempts ?? []).map(
        (attempt): Item => ({ ...attempt, workerId: id }),
      ),
    );
    const sorted = attempts.toSorted((a, b) => (String(a.startedAt) < String(b.startedAt) ? -1 : 1));
    if (session.isJson) session.json({ data: sorted });
    else if (sorted.length === 0) print(terminal, 'Nothing for longer than a second.');
    else print(terminal, renderTable(sorted, ['startedAt', 'timerId', 'tenantId', 'workerId']));
    finish(EXIT.done);
  });
}

async function listInstances(session: Session, role: 'worker' | 'scheduler'): Promise<Instance[]> {
  const query = { limit: '200', ...(role === 'worker' && { kind: 'service' }) };
  const { data, nextCursor } = await session.read<{ data: Instance[]; nextCursor: string | null }>(`GET /v1/${role}s`, {
    query,
  });
  if (nextCursor !== null) remark(session.terminal, `Only the first ${data.length} ${role}s were looked at.`);
  return data;
}

function createDeadline(seconds: number): () => boolean {
  const until = performance.now() + seconds * 1_000;
  return () => performance.now() < until;
}

const pause = () => new Promise((resolve) => setTimeout(resolve, LOOK_INTERVAL_MS));
