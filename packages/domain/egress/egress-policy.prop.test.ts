import { BlockList } from 'node:net';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createEgressPolicy } from './egress-policy.ts';

const octet = fc.nat(255);
const ipv4 = fc.tuple(octet, octet, octet, octet).map((octets) => octets.join('.'));

it('every spelling of an IPv4 address gets the verdict of the address itself', () => {
  const policy = createEgressPolicy({ allow: [], deny: [] });
  fc.assert(
    fc.property(fc.tuple(octet, octet, octet, octet), ([a, b, c, d]) => {
      const isAllowed = policy.isAddressAllowed(`${a}.${b}.${c}.${d}`);
      const whole = ((a * 256 + b) * 256 + c) * 256 + d;
      const spellings = [
        `${whole}`,
        `0x${whole.toString(16)}`,
        `${a}.${(b * 256 + c) * 256 + d}`,
        `0${a.toString(8)}.${b}.${c * 256 + d}`,
        `0x${a.toString(16)}.0x${b.toString(16)}.0${c.toString(8)}.${d}.`,
      ];
      for (const spelling of spellings) expect(policy.checkUrl(`http://${spelling}/`).ok).toBe(isAllowed);
    }),
  );
});

it('ranges hold what net.BlockList says they hold', () => {
  const range = fc.tuple(fc.bigInt(0n, 0xffff_ffffn), fc.integer({ min: 0, max: 32 })).map(([value, length]) => {
    const network = length === 0 ? 0n : (value >> BigInt(32 - length)) << BigInt(32 - length);
    return { network: [24n, 16n, 8n, 0n].map((shift) => (network >> shift) & 0xffn).join('.'), length };
  });
  fc.assert(
    fc.property(range, ipv4, ({ network, length }, address) => {
      const oracle = new BlockList();
      oracle.addSubnet(network, length);
      const policy = createEgressPolicy({ allow: ['0.0.0.0/0'], deny: [`${network}/${length}`] });
      for (const each of [address, network]) expect(policy.isAddressAllowed(each)).toBe(!oracle.check(each));
    }),
  );
});

it('IPv6 ranges hold what net.BlockList says they hold, in any spelling of the address', () => {
  const group = fc.oneof(fc.constant(0), fc.nat(0xffff));
  const groups = fc.array(group, { minLength: 8, maxLength: 8 });
  fc.assert(
    fc.property(groups, fc.integer({ min: 0, max: 8 }), groups, (network, keptGroups, other) => {
      const base = network.map((value, index) => (index < keptGroups ? value : 0));
      const long = (values: number[]) => values.map((value) => value.toString(16)).join(':');
      const short = (values: number[]) => new URL(`http://[${long(values)}]/`).hostname.slice(1, -1);
      const oracle = new BlockList();
      oracle.addSubnet(long(base), keptGroups * 16, 'ipv6');
      const policy = createEgressPolicy({ allow: ['2000::/3'], deny: [`${short(base)}/${keptGroups * 16}`] });
      for (const values of [network, other]) {
        const isListed = oracle.check(long(values), 'ipv6');
        if (isListed) expect(policy.isAddressAllowed(short(values))).toBe(false);
        expect(policy.isAddressAllowed(long(values))).toBe(policy.isAddressAllowed(short(values)));
      }
    }),
  );
});

it('no text makes checkUrl throw, and what passes is http with a host', () => {
  const policy = createEgressPolicy({ allow: [], deny: [] });
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.webUrl({ withQueryParameters: true, withFragments: true }),
    fc
      .tuple(fc.constantFrom('http://', 'https://', 'http:'), fc.string({ unit: 'binary' }))
      .map((parts) => parts.join('')),
  );
  fc.assert(
    fc.property(text, (url) => {
      const check = policy.checkUrl(url);
      if (!check.ok) return;
      expect(check.origin).toMatch(/^https?:\/\/[^/@\s]+$/);
      expect(check.host).not.toBe('');
      expect(check.path).toMatch(/^\/[!-~]*$/);
    }),
    { numRuns: 500 },
  );
});
