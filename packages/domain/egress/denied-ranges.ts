/**
 * Where customers' URLs may not lead unless an operator allows it: everything that is not an ordinary host of the
 * public internet. Sources: the IANA special-purpose registries for IPv4 and IPv6 (RFC 6890 and successors) and the
 * clouds' documented metadata endpoints. Multicast and broadcast lie within 224.0.0.0/4 and 240.0.0.0/4.
 */
export const DENIED_IPV4_RANGES = [
  '0.0.0.0/8', // This network, and the unspecified address, which Linux takes to mean itself.
  '10.0.0.0/8', // Private.
  '100.64.0.0/10', // Carrier-grade NAT; one cloud's metadata endpoint, 100.100.100.200, is in it.
  '127.0.0.0/8', // Loopback.
  '168.63.129.16/32', // Azure's host agent: a public address that every virtual machine there reaches.
  '169.254.0.0/16', // Link-local, with the metadata endpoints 169.254.169.254 and 169.254.170.2.
  '172.16.0.0/12', // Private.
  '192.0.0.0/24', // Protocol assignments; Oracle's metadata endpoint, 192.0.0.192, is in it.
  '192.0.2.0/24', // Documentation.
  '192.31.196.0/24', // AS112 sinks for misdirected queries.
  '192.52.193.0/24', // Automatic multicast tunnelling.
  '192.88.99.0/24', // Relays from 6to4, withdrawn.
  '192.168.0.0/16', // Private.
  '192.175.48.0/24', // AS112 sinks.
  '198.18.0.0/15', // Benchmarks.
  '198.51.100.0/24', // Documentation.
  '203.0.113.0/24', // Documentation.
  '224.0.0.0/4', // Multicast.
  '240.0.0.0/4', // Reserved, with the broadcast address.
] as const;

/**
 * IPv6 hands out public addresses from 2000::/3 only. All else is denied by naming its two halves' complements, so
 * that what is assigned a special meaning later stays denied: loopback, unspecified, IPv4-mapped and -compatible,
 * NAT64 (64:ff9b::/96, 64:ff9b:1::/48), discard (100::/64), segment routing (5f00::/16), unique local (fc00::/7, with
 * the metadata endpoints fd00:ec2::254 and fd20:ce::254), link-local, site-local and multicast.
 */
export const DENIED_IPV6_RANGES = [
  '::/3', // 0000:: to 1fff::
  '4000::/2', // 4000:: to 7fff::
  '8000::/1', // 8000:: to ffff::
  '2001::/23', // Protocol assignments: Teredo, benchmarks, ORCHID and others.
  '2001:db8::/32', // Documentation.
  '2002::/16', // 6to4.
  '2620:4f:8000::/48', // AS112 sinks.
  '3fff::/20', // Documentation.
] as const;
