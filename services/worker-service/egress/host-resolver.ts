import { lookup } from 'node:dns';
import { Resolver } from 'node:dns/promises';

/**
 * How long the addresses of a name are reused (ms). One second folds the many connections that a burst opens to one
 * host into one query, and is short beside any time to live that a site relies on when it moves.
 */
export const ADDRESSES_KEPT_MS = 1_000;
/**
 * The most names of which addresses are kept or being asked for. Beyond it the addresses kept for longest give way; when
 * all are being asked for, new names fail until some are answered.
 */
export const NAMES_MAX = 4_096;
/**
 * The most lookups through the operating system at a time. Each holds one of the four threads that Node also uses for
 * files and cryptography, and cannot be cancelled.
 */
export const SYSTEM_LOOKUPS_MAX = 2;
/** One DNS query: how long to wait for its answer, at first and at most (ms), and how often to send it. */
const DNS_TIMEOUT_MS = 1_500;
const DNS_TIMEOUT_MS_MAX = 2_000;
const DNS_TRIES_MAX = 2;

export interface ResolvedAddress {
  address: string;
  family: 4 | 6;
}

/** All addresses of a host name, at least one. Rejects with an error whose `code` is one of Node's DNS codes. */
export type ResolveHost = (host: string) => Promise<readonly ResolvedAddress[]>;

export interface HostResolverOptions {
  /**
   * `dns` (the default) asks DNS without a thread, and the operating system for names that DNS does not know.
   * `servers` asks DNS alone. `system` always asks the operating system, so that its hosts file comes before DNS.
   */
  mode?: 'dns' | 'servers' | 'system';
  /** DNS servers as `address:port`; those of the operating system when absent. */
  servers?: readonly string[];
  /** Asks the operating system; getaddrinfo when absent. */
  lookUpInSystem?: ResolveHost;
  /** Milliseconds of a clock that never goes back. */
  now?: () => number;
}

/**
 * Resolves names so that a name whose DNS server never answers delays nothing but itself. getaddrinfo could not
 * promise that: it holds a thread of a small pool for as long as the name stalls, and anybody can own such names.
 * DNS queries hold no thread, so any number of them may stall side by side.
 *
 * The operating system is the second choice, for names that only its hosts file, search list or multicast DNS know.
 * At most SYSTEM_LOOKUPS_MAX run at a time; when stalled names occupy them, only such local names wait.
 */
export function createHostResolver(options: HostResolverOptions = {}): ResolveHost {
  const { mode = 'dns', lookUpInSystem = lookUpByGetaddrinfo, now = () => performance.now() } = options;
  const resolver = new Resolver({ timeout: DNS_TIMEOUT_MS, maxTimeout: DNS_TIMEOUT_MS_MAX, tries: DNS_TRIES_MAX });
  if (options.servers) resolver.setServers([...options.servers]);
  const lookUpInTurn = limitConcurrency(lookUpInSystem, SYSTEM_LOOKUPS_MAX);

  const resolve: ResolveHost = async (host) => {
    if (mode === 'system') return lookUpInTurn(host);
    try {
      return await queryBothFamilies(resolver, host);
    } catch (error) {
      if (mode === 'servers' || !isUnknownToDns(error)) throw error;
      return lookUpInTurn(host);
    }
  };

  const asking = new Map<string, Promise<readonly ResolvedAddress[]>>();
  /** Those that were kept first come first, and lapse first. */
  const kept = new Map<string, KeptAddresses>();
  return (host) => {
    const under = asking.get(host);
    if (under !== undefined) return under;
    const known = kept.get(host);
    if (known !== undefined) {
      if (known.keptUntil > now()) return known.addresses;
      kept.delete(host);
    }
    if (asking.size >= NAMES_MAX) {
      return Promise.reject(createDnsError('EBUSY', 'Too many host names are being resolved.'));
    }
    // What is kept saves a query at most; it must not keep anybody else's name from being asked for.
    if (asking.size + kept.size >= NAMES_MAX) kept.delete(kept.keys().next().value!);
    const addresses = resolve(host);
    asking.set(host, addresses);
    addresses.then(
      () => {
        asking.delete(host);
        kept.set(host, { addresses, keptUntil: now() + ADDRESSES_KEPT_MS });
      },
      // A failure is not kept: the next attempt, which comes after a backoff, asks afresh.
      () => asking.delete(host),
    );
    return addresses;
  };
}

interface KeptAddresses {
  addresses: Promise<readonly ResolvedAddress[]>;
  keptUntil: number;
}

/** IPv4 first: where IPv6 does not work it often fails by silence. Fails only when neither family has an address. */
async function queryBothFamilies(resolver: Resolver, host: string): Promise<ResolvedAddress[]> {
  const [v4, v6] = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)]);
  const addresses: ResolvedAddress[] = [];
  if (v4.status === 'fulfilled') for (const address of v4.value) addresses.push({ address, family: 4 });
  if (v6.status === 'fulfilled') for (const address of v6.value) addresses.push({ address, family: 6 });
  if (addresses.length > 0) return addresses;
  // An error other than "no such name" says more: the name may exist.
  const reasons = [v4, v6].flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
  throw reasons.find((reason) => !isUnknownToDns(reason)) ?? reasons[0] ?? createDnsError('ENODATA', 'No addresses.');
}

/** DNS says that there is no such name, or there is no DNS server at all on this machine. */
function isUnknownToDns(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return code === 'ENOTFOUND' || code === 'ENODATA' || code === 'ECONNREFUSED';
}

function lookUpByGetaddrinfo(host: string): Promise<ResolvedAddress[]> {
  return new Promise((resolve, reject) => {
    lookup(host, { all: true }, (error, addresses) => {
      if (error) return reject(error);
      resolve(addresses.map(({ address, family }) => ({ address, family: family === 6 ? 6 : 4 })));
    });
  });
}

/** At most `countMax` calls run at a time; the others wait in order. How many can wait is bounded by NAMES_MAX. */
function limitConcurrency(resolveHost: ResolveHost, countMax: number): ResolveHost {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (host) => {
    if (running >= countMax) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    try {
      return await resolveHost(host);
    } finally {
      const next = waiting.shift();
      if (next) next();
      else running -= 1;
    }
  };
}

function createDnsError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
