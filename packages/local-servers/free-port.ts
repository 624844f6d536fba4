import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import { LocalServerError } from './local-server-error.ts';

/** The only address on which local servers listen: they are never reachable from another machine. */
export const LOOPBACK = '127.0.0.1';

/**
 * Below the ports that Linux (32768 on), macOS and Windows (49152 on) give to whoever asks for any, outgoing connections
 * included: the seconds until the caller listens are long enough for one of those to be taken by somebody else.
 */
const PORTS = { min: 10_000, max: 32_767 };
const TRIES_MAX = 100;

/** A TCP port of 127.0.0.1, chosen at random, that nothing listens on now. Another program may take it before the caller does. */
export async function findFreePort(): Promise<number> {
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    const port = randomInt(PORTS.min, PORTS.max + 1);
    if (await isPortFree(port)) return port;
  }
  throw new Error(`No TCP port of ${LOOPBACK} from ${PORTS.min} to ${PORTS.max} is free.`);
}

/** Whether something could listen on this port of 127.0.0.1 now. */
export function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host: LOOPBACK, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

export function portInUseError(port: number): LocalServerError {
  const message = `Port ${port} of ${LOOPBACK} is in use by another program: stop that program, or choose another port.`;
  return new LocalServerError('port_in_use', message, { isRetryable: true });
}
