import { createServer } from 'node:net';
import { LocalServerError } from './local-server-error.ts';

/** The only address on which local servers listen: they are never reachable from another machine. */
export const LOOPBACK = '127.0.0.1';

/** A TCP port of 127.0.0.1 that nothing listens on now. Another program may take it before the caller does. */
export async function findFreePort(): Promise<number> {
  const port = await tryListen(0);
  if (port === undefined) throw new Error('No TCP port of 127.0.0.1 is free.');
  return port;
}

/** Whether something could listen on this port of 127.0.0.1 now. */
export async function isPortFree(port: number): Promise<boolean> {
  return (await tryListen(port)) !== undefined;
}

export function portInUseError(port: number): LocalServerError {
  const message = `Port ${port} of ${LOOPBACK} is in use by another program: stop that program, or choose another port.`;
  return new LocalServerError('port_in_use', message, { isRetryable: true });
}

function tryListen(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen({ host: LOOPBACK, port, exclusive: true }, () => {
      const address = server.address();
      server.close(() => resolve(address !== null && typeof address === 'object' ? address.port : undefined));
    });
  });
}
