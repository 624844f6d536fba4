import { IPV4_BITS, IPV6_BITS, type ParsedAddress, parseAddress } from './ip-address.ts';

/** The most ranges in one setting: each new connection is checked against all of them, one after another. */
export const EGRESS_RANGES_MAX = 1_024;

/** A setting that is not a list of address ranges. The message names the entry and what is wrong with it. */
export class EgressSettingError extends Error {
  readonly code = 'PUNCTUAL_EGRESS_SETTING_INVALID';
  readonly isRetryable = false;

  constructor(message: string) {
    super(message);
    this.name = 'EgressSettingError';
  }
}

export interface AddressSet {
  has(address: ParsedAddress): boolean;
}

/**
 * A set of addresses from CIDR ranges (`10.0.0.0/8`, `fd00::/8`) and single addresses. `settingName` is what the
 * error calls the list. Ranges of IPv4-mapped addresses (`::ffff:10.0.0.0/104`) are kept as the IPv4 ranges that
 * they are. Throws EgressSettingError for the first entry that is no range, and for one such as `10.0.0.1/8` whose
 * address reaches beyond its prefix: whether the whole network or the one host was meant cannot be told.
 */
export function createAddressSet(entries: readonly string[], settingName: string): AddressSet {
  if (entries.length > EGRESS_RANGES_MAX) {
    throw new EgressSettingError(
      `${settingName} has ${entries.length} ranges; at most ${EGRESS_RANGES_MAX} are allowed.`,
    );
  }
  const ranges = entries.map((entry) => {
    const range = readRange(entry);
    if (typeof range !== 'string') return range;
    throw new EgressSettingError(`${settingName}: "${entry}" is not an address range: ${range}`);
  });
  return {
    has: ({ family, value }) =>
      ranges.some((range) => range.family === family && value >> range.hostBits === range.prefix),
  };
}

interface Range {
  family: ParsedAddress['family'];
  /** Bits after the prefix, and the prefix itself, shifted down by them. */
  hostBits: bigint;
  prefix: bigint;
}

/** The range, or what is wrong with the entry. */
function readRange(entry: string): Range | string {
  const [text = '', lengthText, ...rest] = entry.trim().split('/');
  const address = text.includes('%') ? undefined : parseAddress(text);
  if (!address || rest.length > 0) return 'write it as 10.0.0.0/8 or fd00::/8.';

  const bits = address.family === 'ipv4' ? IPV4_BITS : IPV6_BITS;
  const length = lengthText === undefined ? bits : Number(lengthText);
  if ((lengthText !== undefined && !/^\d{1,3}$/.test(lengthText)) || length > bits) {
    return `the prefix must be a whole number from 0 to ${bits}.`;
  }
  const hostBits = BigInt(bits - length);
  const prefix = address.value >> hostBits;
  if (prefix << hostBits !== address.value) return 'its address has bits set beyond the prefix.';

  const isMappedRange = address.family === 'ipv6' && hostBits <= 32n && address.value >> 32n === 0xffffn;
  if (isMappedRange) return { family: 'ipv4', hostBits, prefix: (address.value & 0xffff_ffffn) >> hostBits };
  return { family: address.family, hostBits, prefix };
}
