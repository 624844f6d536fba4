import { IPV6_BITS } from './ip-address.ts';

/** The whole of ::ffff:0:0/96: an IPv4 address in IPv6 spelling. */
export function isMappedIpv4(value: bigint): boolean {
  return value >> 32n === 0xffffn;
}

/**
 * IPv4 addresses that packets to this IPv6 address may end up at, through a translator or a tunnel: every reading of
 * it, since which one the network uses cannot be known here. IPv4-mapped addresses are not among them.
 */
export function readEmbeddedIpv4(value: bigint): bigint[] {
  const low = value & 0xffff_ffffn;
  const group = (index: number): bigint => (value >> BigInt(112 - index * 16)) & 0xffffn;
  const high96 = value >> 32n;

  if (high96 === 0n && low > 1n) return [low]; // ::a.b.c.d, IPv4-compatible.
  if (high96 === 0xffffn << 16n) return [low]; // ::ffff:0:a.b.c.d, IPv4-translated (RFC 2765).
  if (high96 === 0x0064_ff9b_0000_0000_0000_0000n) return [low]; // 64:ff9b::/96, NAT64.
  if (value >> 80n === 0x0064_ff9b_0001n) {
    // Operators choose how much of 64:ff9b:1::/48 is prefix (RFC 8215). RFC 6052 puts the address elsewhere for each
    // length, skips bits 64 to 71 and fills with zeros, so that a tail other than zero rules the short prefixes out.
    if ((value & 0xff_ffffn) !== 0n) return [low]; // /96
    const bits = (from: number, count: number): bigint => {
      return (value >> BigInt(IPV6_BITS - from - count)) & ((1n << BigInt(count)) - 1n);
    };
    return [
      bits(72, 32), // /64
      ...(bits(96, 32) === 0n ? [(bits(56, 8) << 24n) | bits(72, 24)] : []), // /56
      ...(bits(88, 40) === 0n ? [(bits(48, 16) << 16n) | bits(72, 16)] : []), // /48
    ];
  }
  if (group(0) === 0x2002n) return [(group(1) << 16n) | group(2)]; // 6to4.
  if (value >> 96n === 0x2001_0000n) return [(group(2) << 16n) | group(3), low ^ 0xffff_ffffn]; // Teredo: server, client.
  if (((value >> 32n) & 0xfdff_ffffn) === 0x5efen) return [low]; // ISATAP, under any prefix.
  return [];
}
