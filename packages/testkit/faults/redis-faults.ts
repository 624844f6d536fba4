import type { Socket } from 'node:net';
import { Redis, ReplyError } from 'ioredis';
import { TEST_CONNECTION_NAME } from '../connection-name.ts';
import type { Injector } from './injector.ts';

/** What is used of a client of ioredis, as far as its types do not say it. */
interface RawRedis {
  status: string;
  options: { connectionName?: string | null };
  stream: Socket;
  /** Commands that wait for their answers. */
  commandQueue: { length: number };
}

interface RawCommand {
  name: string;
  pipelineIndex?: number;
  promise: Promise<unknown>;
  reject(error: Error): void;
}

/** Makes commands of the services' clients of Redis fail as `injector` says. For the whole process, once and for all. */
export function injectRedisFaults(injector: Injector): void {
  const client = Redis.prototype as unknown as { sendCommand(command: RawCommand, stream?: unknown): unknown };
  const { sendCommand } = client;
  client.sendCommand = function (this: RawRedis, command: RawCommand, pipeline?: unknown): unknown {
    if (!isOfService(this)) return sendCommand.call(this, command, pipeline);
    // The commands of a pipeline travel together: something happens to all of them, before the first.
    // A client that is refused as it introduces itself stays so, which is a matter of access lists and not of a bad moment.
    const isPossible =
      this.status === 'ready' && command.name !== 'info' && (pipeline === undefined || command.pipelineIndex === 0);
    const chosen = isPossible ? injector.choose('redis') : undefined;
    if (chosen === undefined) return sendCommand.call(this, command, pipeline);
    const isAlone = this.commandQueue.length === 0;
    const kind =
      (chosen === 'cutAfter' && !isAlone) || (chosen === 'refused' && pipeline !== undefined) ? 'cutBefore' : chosen;
    injector.note('redis', kind, command.name);
    const { stream } = this;
    switch (kind) {
      case 'cutBefore':
        stream.destroy();
        break;
      case 'refused':
        command.reject(new ReplyError("OOM command not allowed when used memory > 'maxmemory'."));
        return command.promise;
      case 'cutAfter':
        // Nothing else is awaited on this connection: the first bytes that come are the answer.
        stream.removeAllListeners('data');
        stream.on('data', () => stream.destroy());
        break;
      case 'late':
        stream.pause();
        setTimeout(() => stream.resume(), injector.plan.chooseDelayMs());
    }
    return sendCommand.call(this, command, pipeline);
  };
}

/** Connections of the services have names; of those of tests, some have one of their own. */
function isOfService({ options }: RawRedis): boolean {
  return typeof options.connectionName === 'string' && options.connectionName !== TEST_CONNECTION_NAME;
}
