const list = (text: string): readonly string[] => text.trim().split(/\s+/);

/**
 * Addresses that are no ordinary host of the public internet, by what they are: first and last of each range, what is
 * used in practice, and several ways to write an IPv6 address. Sources: the IANA special-purpose registries, and the
 * clouds' documentation of their metadata endpoints.
 */
export const HOSTILE_ADDRESSES: Readonly<Record<string, readonly string[]>> = {
  'this network': list('0.0.0.0 0.0.0.1 0.1.2.3 0.255.255.255'),
  private: list(`
    10.0.0.0 10.0.0.1 10.1.2.3 10.96.0.1 10.255.255.255
    172.16.0.0 172.16.0.1 172.17.0.1 172.20.10.5 172.31.255.255
    192.168.0.0 192.168.0.1 192.168.1.1 192.168.99.100 192.168.122.1 192.168.255.255`),
  loopback: list(`
    127.0.0.0 127.0.0.1 127.0.0.2 127.0.0.53 127.0.1.1 127.1.2.3 127.127.127.127 127.255.255.254 127.255.255.255
    ::1 0:0:0:0:0:0:0:1 0000::0001 0000:0000:0000:0000:0000:0000:0000:0001 ::0:1`),
  'link-local': list(`
    169.254.0.0 169.254.0.1 169.254.1.1 169.254.255.255
    fe80:: fe80::1 fe80::1%eth0 fe80::ffff:ffff:ffff:ffff febf::ffff`),
  metadata: list(`
    169.254.169.254 169.254.169.253 169.254.169.123 169.254.170.2 169.254.170.23 169.254.42.42 169.254.0.23
    100.100.100.200 192.0.0.192 168.63.129.16
    fd00:ec2::254 fd00:0ec2:0:0::254 fd00:ec2::23 fd20:ce::254 fd00:42::42 fe80::a9fe:a9fe`),
  'carrier-grade NAT': list('100.64.0.0 100.64.0.1 100.100.1.1 100.127.255.255'),
  'protocol assignments': list(`
    192.0.0.0 192.0.0.1 192.0.0.8 192.0.0.170 192.0.0.171 192.0.0.255 2001::1 2001:1::1 2001:1ff:ffff::1`),
  documentation: list(`
    192.0.2.0 192.0.2.1 192.0.2.255 198.51.100.1 198.51.100.255 203.0.113.0 203.0.113.255
    2001:db8::1 2001:DB8:FFFF:: 3fff::1 3fff:fff:ffff::1`),
  benchmark: list('198.18.0.0 198.18.0.1 198.19.255.255 2001:2::1'),
  multicast: list(
    '224.0.0.0 224.0.0.1 224.0.0.251 239.255.255.250 239.255.255.255 ff00:: ff02::1 ff02::fb ff05::2 ff0e::1',
  ),
  reserved: list(`
    240.0.0.0 240.0.0.1 247.1.2.3 255.255.255.254
    200::1 1000::1 1fff:ffff::1 4000::1 5fff::1 7fff::1 8000::1 c000::1 e000::1 f000::1
    ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff`),
  broadcast: list('255.255.255.255'),
  unspecified: list(':: 0::0 0:0:0:0:0:0:0:0'),
  'IPv4-mapped': list(`
    ::ffff:127.0.0.1 ::ffff:7f00:1 ::FFFF:10.0.0.1 0:0:0:0:0:ffff:7f00:0001 ::ffff:169.254.169.254 ::ffff:a9fe:a9fe
    ::ffff:8.8.8.8 ::ffff:0:0`),
  'IPv4-compatible': list('::127.0.0.1 ::7f00:1 ::10.0.0.1 ::8.8.8.8'),
  'IPv4-translated': list('::ffff:0:127.0.0.1 ::ffff:0:8.8.8.8'),
  NAT64: list(`
    64:ff9b::127.0.0.1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b::8.8.8.8
    64:ff9b:1::10.0.0.1 64:ff9b:1:a00:0:100:: 64:ff9b:1:ffff::1`),
  '6to4': list('2002:7f00:1:: 2002:a00:1::1 2002:a9fe:a9fe::1 2002:808:808::1'),
  Teredo: list('2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:0:a00:1:: 2001:0:808:808::80ff:fffe 2001:0000::1'),
  'unique local': list('fc00:: fc00::1 fd12:3456:789a::1 fdff:ffff::1'),
  'site-local': list('fec0:: fec0::1 feff::1'),
  discard: list('100::1 100:0:0:1::1'),
  'segment routing': list('5f00::1'),
  ISATAP: list('2606:4700::5efe:10.0.0.1 2606:4700::200:5efe:a00:1 2606:4700::5efe:7f00:1'),
  'AS112 and withdrawn relays': list('192.31.196.1 192.175.48.1 192.88.99.1 192.52.193.1 2620:4f:8000::1'),
};
