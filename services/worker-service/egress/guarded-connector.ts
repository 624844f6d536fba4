import { isIP, type LookupFunction, connect as openSocket, type Socket } from 'node:net';
import type { EgressPolicy } from '@punctual/domain';
import { buildConnector } from 'undici';
import type { ResolvedAddress, ResolveHost } from './host-resolver.ts';

/** TLS sessions kept so that new connections to the same host need no full handshake. */
const TLS_SESSIONS_MAX = 256;
/** Of one read (bytes), as in Node. */
const READ_BYTES = 65_536;
const HTTP_PORT = 80;
/** After so long without a byte the kernel asks whether the other side is still there (ms). */
const KEEP_ALIVE_PROBE_MS = 60_000;

/**
 * The settings do not allow a connection to this host. The message is for the customer and does not repeat which
 * address a name has, since that would let anybody read an internal DNS; `address` is for the operator's log.
 */
export class EgressBlockedError extends Error {
  readonly code = 'PUNCTUAL_EGRESS_BLOCKED';
  readonly isRetryable = false;
  readonly host: string;
  readonly address: string;

  constructor(message: string, host: string, address: string) {
    super(message);
    this.name = 'EgressBlockedError';
    this.host = host;
    this.address = address;
  }
}

type Connected = buildConnector.Callback;

/**
 * Connects and calls back once, with the socket or an error. It returns the socket while it is still connecting, so that the caller
 * can end an attempt that is out of time in that phase; undefined when the host was refused outright. What is read is given to
 * `onBytes`, which may use it during the call only.
 */
export type GuardedConnect = (
  target: buildConnector.Options,
  onConnected: Connected,
  onBytes: (bytes: Buffer) => void,
) => Socket | undefined;

export interface GuardedConnectorOptions {
  policy: EgressPolicy;
  resolveHost: ResolveHost;
  /** Certificates of authorities to trust in place of the usual ones, PEM. */
  ca?: string | readonly string[];
}

/**
 * Connects only to addresses that the policy allows. A literal address is checked here, because no lookup happens for
 * one. For a name, this resolves it once, checks every address and hands exactly the checked list to the socket, so a
 * name that answers differently a moment later (DNS rebinding) changes nothing. One denied address denies the name:
 * a list that mixes public and private addresses is an attack or a mistake, and which entry gets used is chance.
 *
 * There is no timeout in here: the deadline of the attempt counts from before the lookup to the last byte.
 */
export function createGuardedConnector(options: GuardedConnectorOptions): GuardedConnect {
  const { policy, resolveHost, ca } = options;
  const lookup = createGuardedLookup(policy, resolveHost);
  // The type leaves the return value out; buildConnector returns the socket.
  const connectTls = buildConnector({
    lookup,
    autoSelectFamily: true,
    allowH2: false,
    timeout: 0,
    maxCachedSessions: TLS_SESSIONS_MAX,
    ...(ca === undefined ? {} : { ca: typeof ca === 'string' ? ca : [...ca] }),
  } as buildConnector.BuildOptions) as unknown as (target: buildConnector.Options, onConnected: Connected) => Socket;
  const buffer = Buffer.allocUnsafeSlow(READ_BYTES);

  return (target, onConnected, onBytes) => {
    const host = target.hostname;
    if (isIP(host) !== 0 && !policy.isAddressAllowed(host)) {
      const error = new EgressBlockedError('The URL leads to an address that is not allowed.', host, host);
      process.nextTick(onConnected, error, null);
      return undefined;
    }
    if (target.protocol === 'http:') return connectPlain(target, lookup, buffer, onConnected, onBytes);
    return connectTls(target, (...result) => {
      result[1]?.on('data', onBytes);
      onConnected(...result);
    });
  };
}

// All sockets read into one buffer, since Node would make one of 64 KB for each read: a tenth of a worker's work.
function connectPlain(
  { hostname, port }: buildConnector.Options,
  lookup: LookupFunction,
  buffer: Buffer,
  onConnected: Connected,
  onBytes: (bytes: Buffer) => void,
): Socket {
  const read = (length: number) => {
    onBytes(buffer.subarray(0, length));
    return true;
  };
  const socket = openSocket({
    host: hostname,
    port: Number(port) || HTTP_PORT,
    lookup,
    autoSelectFamily: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_PROBE_MS,
    onread: { buffer, callback: read },
  });
  let isTold = false;
  const tell: Connected = (...result) => {
    if (isTold) return;
    isTold = true;
    onConnected(...result);
  };
  socket.once('connect', () => tell(null, socket));
  socket.on('error', (error) => tell(error, null));
  return socket;
}

function createGuardedLookup(policy: EgressPolicy, resolveHost: ResolveHost): LookupFunction {
  const resolveChecked = async (host: string): Promise<readonly ResolvedAddress[]> => {
    const ownAddresses = policy.resolveLocalhost(host);
    if (ownAddresses?.length === 0) {
      throw new EgressBlockedError('The URL leads to the machine itself, which is not allowed.', host, host);
    }
    if (ownAddresses) return ownAddresses.map((address) => ({ address, family: isIP(address) === 6 ? 6 : 4 }));
    const addresses = await resolveHost(host);
    for (const { address } of addresses) {
      if (!policy.isAddressAllowed(address)) {
        throw new EgressBlockedError('The host has an address that is not allowed.', host, address);
      }
    }
    return addresses;
  };
  return (host, options, callback) => {
    resolveChecked(host).then(
      (addresses) => {
        const first = addresses[0];
        if (!first) callback(Object.assign(new Error('The host has no address.'), { code: 'ENOTFOUND' }), '', 0);
        else if (options.all) callback(null, [...addresses]);
        else callback(null, first.address, first.family);
      },
      (error: NodeJS.ErrnoException) => callback(error, '', 0),
    );
  };
}
