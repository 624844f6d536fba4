import { isIP } from 'node:net';

/** Bits in an address of each family. */
export const IPV4_BITS = 32;
export const IPV6_BITS = 128;

/** An IPv4 or IPv6 address as a number, which makes prefixes plain arithmetic. */
export interface ParsedAddress {
  family: 'ipv4' | 'ipv6';
  value: bigint;
}

/**
 * Reads an address in any spelling that `node:net` accepts. An IPv6 zone (`%eth0`) is dropped: it names a network
 * card, not another address. Anything else, such as `127.1` or `0x7f.0.0.1`, is undefined; `new URL` turns those
 * into the usual form, so they never come here from a URL.
 */
export function parseAddress(text: string): ParsedAddress | undefined {
  const zoneAt = text.indexOf('%');
  const address = zoneAt === -1 ? text : text.slice(0, zoneAt);
  switch (isIP(address)) {
    case 4:
      return { family: 'ipv4', value: parseIpv4(address) };
    case 6:
      return { family: 'ipv6', value: parseIpv6(address) };
    default:
      return undefined;
  }
}

function parseIpv4(address: string): bigint {
  return address.split('.').reduce((value, octet) => (value << 8n) | BigInt(octet), 0n);
}

/** Expects what `isIP` called IPv6: at most one `::`, and perhaps a dotted tail. */
function parseIpv6(address: string): bigint {
  const [head = '', tail] = address.split('::');
  const before = readGroups(head);
  const after = tail === undefined ? [] : readGroups(tail);
  const zeros = new Array<bigint>(8 - before.length - after.length).fill(0n);
  return [...before, ...zeros, ...after].reduce((value, group) => (value << 16n) | group, 0n);
}

function readGroups(text: string): bigint[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (!group.includes('.')) return [BigInt(`0x${group}`)];
    const dotted = parseIpv4(group);
    return [dotted >> 16n, dotted & 0xffffn];
  });
}
