import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { type DnsAnswer, startDnsServer } from '../dns-server.ts';
import type { Behaviour, ExpectedAttempt } from './behaviour.ts';
import { BEHAVIOURS, listRedirects, listWaits } from './behaviours.ts';
import { TEST_KEY } from './certificates.ts';

/** One endpoint, and what an attempt there must come to when its time-out is at most HOSTILE_TIMEOUT_MS_MAX. */
export interface HostileEndpoint {
  /** Follows "an endpoint that". */
  name: string;
  url: string;
  expected: ExpectedAttempt;
  /** What may come of it as well: on a machine too busy to read a flood in time, or when attempts share one look-up. */
  alternative?: ExpectedAttempt | undefined;
  /** It never learns that a connection was closed at the other end. */
  isBlind: boolean;
}

export interface HostileStats {
  /** Connections that were accepted, by endpoints that share a server together. */
  connections: number;
  /** Complete requests. */
  requests: number;
  openCount: number;
  /** How long a connection was open at most, those included that are (ms). */
  longestOpenMs: number;
}

export interface HostileEndpoints {
  endpoints: readonly HostileEndpoint[];
  /** Knows the names of endpoints whose trouble is DNS, as `address:port`. */
  dnsServer: string;
  /** By the names of endpoints. None for those that have no server. */
  readStats(): Record<string, HostileStats>;
  /** Connections to where redirects lead. */
  readonly canaryConnections: number;
  close(): Promise<void>;
}

/** Queries to a server that stalls are given up after some three seconds, which is another outcome (ms). */
export const HOSTILE_TIMEOUT_MS_MAX = 2_500;

/** Nobody listens at this port, for which one must be root. */
const CLOSED_PORT = 1;
const DNS_ANSWERS: Readonly<Record<string, DnsAnswer>> = {
  'unknown.hostile.example': 'unknown',
  'no-address.hostile.example': [],
  'failing.hostile.example': 'fails',
  'refusing.hostile.example': 'refuses',
  'stalled.hostile.example': 'stalls',
  'inside.hostile.example': ['10.0.0.1'],
  'half-inside.hostile.example': ['192.0.2.1', '10.0.0.1'],
  'metadata.hostile.example': ['169.254.169.254'],
};

const unresolved = (error: string): ExpectedAttempt => ({ outcome: 'retryable', contact: 'unanswered', error });
const blocked: ExpectedAttempt = {
  outcome: 'blocked',
  contact: 'unknown',
  error: 'The host has an address that is not allowed.',
};
const WITHOUT_SERVER: readonly Omit<HostileEndpoint, 'isBlind'>[] = [
  {
    name: 'refuses connections',
    url: `http://127.0.0.1:${CLOSED_PORT}/`,
    expected: unresolved('The connection was refused.'),
  },
  {
    name: 'has a name that does not exist',
    url: 'http://unknown.hostile.example/',
    expected: unresolved('The host name does not exist.'),
  },
  {
    name: 'has a name without an address',
    url: 'http://no-address.hostile.example/',
    expected: unresolved('The host name has no address.'),
  },
  {
    name: 'has a name whose servers fail',
    url: 'http://failing.hostile.example/',
    expected: unresolved('The DNS servers of the host name failed.'),
  },
  {
    name: 'has a name whose servers refuse',
    url: 'http://refusing.hostile.example/',
    expected: unresolved('The DNS servers of the host name refused to answer.'),
  },
  {
    name: 'has a name whose servers stall',
    url: 'https://stalled.hostile.example/',
    expected: { outcome: 'timedOut', contact: 'unanswered', error: 'There was no connection within' },
    alternative: unresolved('The DNS servers of the host name did not answer.'),
  },
  { name: 'has a private address', url: 'http://inside.hostile.example/', expected: blocked },
  { name: 'has a private address among others', url: 'http://half-inside.hostile.example/', expected: blocked },
  { name: 'is the metadata of a cloud', url: 'http://metadata.hostile.example/', expected: blocked },
];

/**
 * Starts every kind of bad endpoint that there is, each at an origin of its own but for redirects and waits, on loopback.
 * Whoever calls them must be allowed to call loopback and nothing else that is private, ask `dnsServer`, and trust
 * TEST_AUTHORITY.
 */
export async function startHostileEndpoints(): Promise<HostileEndpoints> {
  const canary = await serve([{ name: 'is a canary', expected: { outcome: 'timedOut', contact: 'unanswered' } }]);
  const groups = [
    ...BEHAVIOURS.map((behaviour) => [behaviour]),
    listRedirects(`http://127.0.0.1:${canary.port}/`),
    listWaits(),
  ];
  const served = await Promise.all(groups.map(async (group) => ({ group, server: await serve(group) })));
  const dns = await startDnsServer((name) => DNS_ANSWERS[name] ?? 'unknown');
  return {
    endpoints: [
      ...served.flatMap(({ group, server }) =>
        group.map(({ name, expected, alternative, path = '/', isHttps, certificate, isBlind = false }) => {
          const scheme = isHttps || certificate !== undefined ? 'https' : 'http';
          return { name, expected, alternative, isBlind, url: `${scheme}://127.0.0.1:${server.port}${path}` };
        }),
      ),
      ...WITHOUT_SERVER.map((endpoint) => ({ ...endpoint, isBlind: false })),
    ],
    dnsServer: dns.address,
    readStats: () =>
      Object.fromEntries(
        served.flatMap(({ group, server }) => group.map(({ name }) => [name, server.readStats()] as const)),
      ),
    get canaryConnections() {
      return canary.readStats().connections;
    },
    close: async () => {
      await Promise.all([dns.close(), canary.close(), ...served.map(({ server }) => server.close())]);
    },
  };
}

interface Served {
  port: number;
  readStats(): HostileStats;
  close(): Promise<void>;
}

/** One server for behaviours that differ in their paths. */
async function serve(behaviours: readonly Behaviour[]): Promise<Served> {
  const [first] = behaviours;
  const openedAt = new Map<Socket, number>();
  let connections = 0;
  let requests = 0;
  let longestOpenMs = 0;
  const track = (socket: Socket) => {
    connections += 1;
    const at = performance.now();
    openedAt.set(socket, at);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      openedAt.delete(socket);
      longestOpenMs = Math.max(longestOpenMs, performance.now() - at);
    });
  };
  const listenTo = (socket: Socket) => {
    let received = '';
    socket.on('error', () => socket.destroy());
    socket.on('end', () => socket.end());
    socket.on('data', (bytes: Buffer) => {
      if (received === '') first!.onFirstBytes?.(socket);
      received += bytes.toString('latin1');
      for (let end = findRequestEnd(received); end > 0; end = findRequestEnd(received)) {
        const path = received.split(' ', 2)[1];
        received = received.slice(end);
        requests += 1;
        behaviours.find((behaviour) => (behaviour.path ?? '/') === path)?.onRequest?.(socket);
      }
    });
    first!.onConnection?.(socket);
  };
  const { certificate } = first!;
  const server: Server =
    certificate === undefined
      ? createServer({ allowHalfOpen: true }, listenTo)
      : createTlsServer({ key: TEST_KEY, cert: certificate }, listenTo);
  server.on('connection', track);
  // A caller that does not like the certificate hangs up.
  server.on('tlsClientError', () => {});
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    port: (server.address() as { port: number }).port,
    readStats: () => {
      const openMs = [...openedAt.values()].map((at) => performance.now() - at);
      return { connections, requests, openCount: openedAt.size, longestOpenMs: Math.max(longestOpenMs, ...openMs) };
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of openedAt.keys()) socket.destroy();
      }),
  };
}

/** Length of the first request in the text, 0 while it is incomplete. */
function findRequestEnd(text: string): number {
  const headEnd = text.indexOf('\r\n\r\n');
  if (headEnd === -1) return 0;
  const announced = /\r\ncontent-length: (\d+)\r\n/i.exec(text.slice(0, headEnd + 2));
  const length = headEnd + 4 + Number(announced?.[1] ?? 0);
  return text.length >= length ? length : 0;
}
