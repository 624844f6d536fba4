import { type AddressSet, createAddressSet } from './cidr.ts';
import { DENIED_IPV4_RANGES, DENIED_IPV6_RANGES } from './denied-ranges.ts';
import { isMappedIpv4, readEmbeddedIpv4 } from './embedded-ipv4.ts';
import { type ParsedAddress, parseAddress } from './ip-address.ts';

/** The longest URL of a target (characters). Browsers and proxies cut off near here; a timer is not a place for data. */
export const URL_LENGTH_MAX = 2_048;
/** The longest host name that DNS can hold (RFC 1035: 255 octets on the wire). */
export const HOST_NAME_LENGTH_MAX = 253;
/** What `localhost` stands for. */
const LOCALHOST_ADDRESSES = ['127.0.0.1', '::1'] as const;

const HOST_NAME = /^[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/;
// URL parsing drops these silently, which would make what is stored differ from what is called.
const SPACE_OR_CONTROL = /[\p{Cc}\s]/u;

export interface EgressRanges {
  /** Ranges that are reachable although they are denied by default. */
  allow: readonly string[];
  /** Ranges that are never reachable. They win over `allow`. */
  deny: readonly string[];
}

export type UrlCheck =
  | {
      ok: true;
      /** Scheme, host and port when it is not the usual one, without a trailing dot: one per peer. */
      origin: string;
      /** Host name, or address without brackets. */
      host: string;
      /** Path and query, always beginning with `/`. */
      path: string;
    }
  | {
      ok: false;
      /** `malformed`: no URL that may be called at all. `blocked`: it leads where the settings do not allow. */
      kind: 'malformed' | 'blocked';
      /** One sentence for the customer. */
      reason: string;
    };

/** Which addresses customers' URLs may lead to. It never changes once made. */
export interface EgressPolicy {
  /** Whether a connection to this address may be opened. False for whatever is not an IP address. */
  isAddressAllowed(ip: string): boolean;
  /**
   * Whether a URL may be called, as far as can be told without DNS. A host name passes: its addresses must go
   * through `isAddressAllowed` at each connection, because they can change in between.
   */
  checkUrl(url: string): UrlCheck;
  /**
   * For `localhost` and the names below it, the addresses of the machine itself that are allowed, perhaps none; they
   * are never looked up (RFC 6761), so that no DNS server decides where they lead. Undefined for any other name.
   */
  resolveLocalhost(host: string): readonly string[] | undefined;
}

/**
 * Makes the policy from the settings `EGRESS_ALLOW` and `EGRESS_DENY`. Throws EgressSettingError for an entry that is
 * no address range. An IPv6 address that carries an IPv4 address (NAT64, 6to4, Teredo …) is allowed only when both are.
 */
export function createEgressPolicy(ranges: EgressRanges): EgressPolicy {
  const sets = {
    denied: createAddressSet(ranges.deny, 'EGRESS_DENY'),
    allowed: createAddressSet(ranges.allow, 'EGRESS_ALLOW'),
    deniedByDefault: createAddressSet([...DENIED_IPV4_RANGES, ...DENIED_IPV6_RANGES], 'the default'),
  };
  const isAddressAllowed = (ip: string): boolean => {
    const address = parseAddress(ip);
    return address !== undefined && isAllowed(address, sets);
  };
  const localhostAddresses = LOCALHOST_ADDRESSES.filter(isAddressAllowed);
  return {
    isAddressAllowed,
    checkUrl: (url) => checkUrl(url, isAddressAllowed),
    resolveLocalhost: (host) => (isLocalhostName(host) ? localhostAddresses : undefined),
  };
}

interface AddressSets {
  denied: AddressSet;
  allowed: AddressSet;
  deniedByDefault: AddressSet;
}

function isAllowed(address: ParsedAddress, sets: AddressSets): boolean {
  if (sets.denied.has(address)) return false;
  if (address.family === 'ipv6') {
    if (isMappedIpv4(address.value)) {
      // No honest answer from DNS looks like this, so it takes an explicit permission of the IPv4 address.
      const mapped: ParsedAddress = { family: 'ipv4', value: address.value & 0xffff_ffffn };
      return !sets.denied.has(mapped) && sets.allowed.has(mapped);
    }
    const embedded = readEmbeddedIpv4(address.value);
    if (!embedded.every((value) => isAllowed({ family: 'ipv4', value }, sets))) return false;
  }
  return sets.allowed.has(address) || !sets.deniedByDefault.has(address);
}

/** True for `localhost` and every name below it; a trailing dot is taken off beforehand. */
function isLocalhostName(host: string): boolean {
  return host === 'localhost' || host.endsWith('.localhost');
}

function checkUrl(text: string, isAddressAllowed: (ip: string) => boolean): UrlCheck {
  if (text.length > URL_LENGTH_MAX) return malformed(`The URL is longer than ${URL_LENGTH_MAX} characters.`);
  if (SPACE_OR_CONTROL.test(text)) return malformed('The URL contains a space or a control character.');
  const url = URL.parse(text);
  if (!url) return malformed('The URL cannot be read: write it as https://host/path.');
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    return malformed('The URL must begin with http:// or https://.');
  if (url.username !== '' || url.password !== '') {
    return malformed('The URL contains a user name or password: send them in a header.');
  }
  // `new URL` refuses ports above 65,535 but not this one, which no server can listen on.
  if (url.port === '0') return malformed('The port must be from 1 to 65535.');

  const isIpv6 = url.hostname.startsWith('[');
  // `example.com.` is the same host as `example.com`: one origin, one connection limit, one name in TLS.
  const host = isIpv6 ? url.hostname.slice(1, -1) : url.hostname.replace(/\.$/, '');
  if (isIpv6 || parseAddress(host)) {
    if (!isAddressAllowed(host)) return blocked('The URL leads to an address that is not allowed.');
  } else if (host.length > HOST_NAME_LENGTH_MAX || !HOST_NAME.test(host)) {
    return malformed('The host of the URL is not a valid name.');
  } else if (isLocalhostName(host) && !LOCALHOST_ADDRESSES.some(isAddressAllowed)) {
    return blocked('The URL leads to the machine itself, which is not allowed.');
  }
  const hostInOrigin = isIpv6 ? url.hostname : host;
  const port = url.port === '' ? '' : `:${url.port}`;
  return { ok: true, origin: `${url.protocol}//${hostInOrigin}${port}`, host, path: url.pathname + url.search };
}

function malformed(reason: string): UrlCheck {
  return { ok: false, kind: 'malformed', reason };
}

function blocked(reason: string): UrlCheck {
  return { ok: false, kind: 'blocked', reason };
}
