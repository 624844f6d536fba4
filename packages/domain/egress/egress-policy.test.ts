import { HOSTILE_ADDRESSES, HOSTILE_SPELLINGS, listHostileUrls, ODD_PUBLIC_URLS } from '@punctual/hostile-urls';
import { describe, expect, it } from 'vitest';
import { EGRESS_RANGES_MAX, EgressSettingError } from './cidr.ts';
import { createEgressPolicy, HOST_NAME_LENGTH_MAX, URL_LENGTH_MAX } from './egress-policy.ts';

const strict = createEgressPolicy({ allow: [], deny: [] });

describe('a policy without settings', () => {
  for (const [kind, addresses] of Object.entries(HOSTILE_ADDRESSES)) {
    it.each(addresses)(`denies ${kind}: %s`, (address) => {
      expect(strict.isAddressAllowed(address)).toBe(false);
    });
  }

  it.each([
    '1.0.0.1',
    '8.8.8.8',
    '9.255.255.255',
    '11.0.0.0',
    '100.63.255.255',
    '100.128.0.0',
    '126.255.255.255',
    '128.0.0.1',
    '168.63.129.15',
    '168.63.129.17',
    '169.253.255.255',
    '169.255.0.0',
    '172.15.255.255',
    '172.32.0.0',
    '192.0.1.0',
    '192.167.255.255',
    '192.169.0.0',
    '198.17.255.255',
    '198.20.0.0',
    '223.255.255.255',
    '2001:200::1',
    '2001:4860:4860::8888',
    '2003::1',
    '2606:4700:4700::1111',
    '2606:4700::5efe:8.8.8.8',
    '2a00:1450:4001:81b::200e',
    '3ffe:ffff::1',
  ])('allows the public neighbour %s', (address) => {
    expect(strict.isAddressAllowed(address)).toBe(true);
  });

  it.each([
    '',
    'localhost',
    '127.1',
    '0x7f.0.0.1',
    '2130706433',
    '0177.0.0.1',
    '1.2.3',
    '1.2.3.4.5',
    '[::1]',
    '8.8.8.8/32',
  ])('denies %j, which is not an address', (text) => {
    expect(strict.isAddressAllowed(text)).toBe(false);
  });
});

describe('settings', () => {
  it('allow overrides the default denials, for the range named and no further', () => {
    const policy = createEgressPolicy({ allow: ['10.1.0.0/16', 'fd00:1::/32', '127.0.0.1'], deny: [] });
    expect(policy.isAddressAllowed('10.1.255.255')).toBe(true);
    expect(policy.isAddressAllowed('10.2.0.0')).toBe(false);
    expect(policy.isAddressAllowed('fd00:1:ffff::1')).toBe(true);
    expect(policy.isAddressAllowed('fd00:2::1')).toBe(false);
    expect(policy.isAddressAllowed('127.0.0.1')).toBe(true);
    expect(policy.isAddressAllowed('127.0.0.2')).toBe(false);
  });

  it('deny overrides allow and the default', () => {
    const policy = createEgressPolicy({ allow: ['10.0.0.0/8'], deny: ['10.0.0.1', '8.8.8.0/24', '2606:4700::/32'] });
    expect(policy.isAddressAllowed('10.0.0.1')).toBe(false);
    expect(policy.isAddressAllowed('10.0.0.2')).toBe(true);
    expect(policy.isAddressAllowed('8.8.8.8')).toBe(false);
    expect(policy.isAddressAllowed('8.8.4.4')).toBe(true);
    expect(policy.isAddressAllowed('2606:4700::1')).toBe(false);
  });

  it('deny of an IPv4 range reaches it in every IPv6 disguise', () => {
    const policy = createEgressPolicy({ allow: ['::/0', '0.0.0.0/0'], deny: ['10.0.0.0/8'] });
    const disguises = [
      '10.0.0.1',
      '::ffff:10.0.0.1',
      '::10.0.0.1',
      '::ffff:0:10.0.0.1',
      '64:ff9b::10.0.0.1',
      '64:ff9b:1::10.0.0.1',
      '64:ff9b:1:a00:0:100::', // RFC 6052 with a prefix of 48 bits: 10.0.0.1 lies around bits 64 to 71.
      '64:ff9b:1:a:0:1::', // 56 bits.
      '64:ff9b:1::a:0:100:0', // 64 bits.
      '2002:a00:1::1',
      '2001:0:a00:1::', // Teredo, as the server.
      '2001:0:808:808::f5ff:fffe', // Teredo, as the client, whose bits are turned over.
      '2606:4700::5efe:10.0.0.1',
    ];
    for (const address of disguises) expect([address, policy.isAddressAllowed(address)]).toEqual([address, false]);
    expect(policy.isAddressAllowed('64:ff9b::11.0.0.1')).toBe(true);
  });

  it('allowing NAT64 opens the public IPv4 addresses behind it and not the private ones', () => {
    const policy = createEgressPolicy({ allow: ['64:ff9b::/96', '64:ff9b:1::/48'], deny: [] });
    for (const prefix of ['64:ff9b::', '64:ff9b:1:fffe::']) {
      expect(policy.isAddressAllowed(`${prefix}8.8.8.8`)).toBe(true);
      expect(policy.isAddressAllowed(`${prefix}127.0.0.1`)).toBe(false);
      expect(policy.isAddressAllowed(`${prefix}169.254.169.254`)).toBe(false);
    }
  });

  it('an allowed IPv4 range is allowed in IPv4-mapped spelling, also when the setting is written so', () => {
    expect(createEgressPolicy({ allow: ['10.0.0.0/8'], deny: [] }).isAddressAllowed('::ffff:10.9.9.9')).toBe(true);
    const mapped = createEgressPolicy({ allow: ['::ffff:10.0.0.0/104'], deny: [] });
    expect(mapped.isAddressAllowed('10.9.9.9')).toBe(true);
    expect(mapped.isAddressAllowed('172.16.0.1')).toBe(false);
    expect(createEgressPolicy({ allow: ['::/0'], deny: [] }).isAddressAllowed('::ffff:10.9.9.9')).toBe(false);
  });

  it.each([
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
    '10.0.0.0/',
    '10.0.0.0/0x8',
    '10.0.0.1/8',
    '10.0.0/8',
    'fd00::/129',
    'fd00::1/64',
    'fe80::%eth0/64',
    'example.com',
    'loopback',
    '',
  ])('an entry that is no range, %j, is refused by name', (entry) => {
    const createWith = (ranges: Partial<Record<'allow' | 'deny', string[]>>) => () =>
      createEgressPolicy({ allow: [], deny: [], ...ranges });
    expect(createWith({ allow: ['10.0.0.0/8', entry] })).toThrow(`EGRESS_ALLOW: "${entry}" is not an address range`);
    expect(createWith({ deny: [entry] })).toThrow(`EGRESS_DENY: "${entry}" is not an address range`);
    expect(createWith({ deny: [entry] })).toThrow(EgressSettingError);
  });

  it('the number of ranges is limited', () => {
    const deny = new Array(EGRESS_RANGES_MAX + 1).fill('10.0.0.0/8');
    expect(() => createEgressPolicy({ allow: [], deny })).toThrow(/EGRESS_DENY has 1025 ranges/);
  });
});

describe('checkUrl', () => {
  it.each([
    ['http://example.com', 'http://example.com', 'example.com', '/'],
    ['https://Example.COM:443/Hook?x=1#f', 'https://example.com', 'example.com', '/Hook?x=1'],
    ['https://example.com:8443/', 'https://example.com:8443', 'example.com', '/'],
    ['http://example.com:65535/', 'http://example.com:65535', 'example.com', '/'],
    ['http://example.com:1/', 'http://example.com:1', 'example.com', '/'],
    ['http://example.com./a', 'http://example.com', 'example.com', '/a'],
    ['http://example.com.:8080/a', 'http://example.com:8080', 'example.com', '/a'],
    ['http://8.8.8.8/', 'http://8.8.8.8', '8.8.8.8', '/'],
    ['http://8.8.8.8./', 'http://8.8.8.8', '8.8.8.8', '/'],
    ['http://[2606:4700::1111]:81/x', 'http://[2606:4700::1111]:81', '2606:4700::1111', '/x'],
    ['http://a_b.example-site.com/', 'http://a_b.example-site.com', 'a_b.example-site.com', '/'],
    ['http://例え.jp/?q=ü', 'http://xn--r8jz45g.jp', 'xn--r8jz45g.jp', '/?q=%C3%BC'],
    ['http://notlocalhost/', 'http://notlocalhost', 'notlocalhost', '/'],
  ])('accepts %s', (url, origin, host, path) => {
    expect(strict.checkUrl(url)).toEqual({ ok: true, origin, host, path });
  });

  it.each(listHostileUrls(8080))('refuses $kind: $url', ({ url }) => {
    expect(strict.checkUrl(url)).toMatchObject({ ok: false, reason: expect.stringMatching(/^The .+\.$/) });
  });

  it('blocks what leads to the inside in whatever spelling, and does not merely fail to read it', () => {
    const readable = ['decimal', 'hex', 'octal', 'short', 'mixed', 'trailing dot', 'Unicode digits', 'localhost'];
    for (const url of readable.flatMap((kind) => HOSTILE_SPELLINGS[kind]!)) {
      expect([url, strict.checkUrl(url.replace('{port}', '8080'))]).toMatchObject([
        url,
        { ok: false, kind: 'blocked' },
      ]);
    }
  });

  it.each(ODD_PUBLIC_URLS)('lets %s through', (url) => {
    expect(strict.checkUrl(url)).toMatchObject({ ok: true });
  });

  it('the table has three hundred hostile URLs or more, none of them twice', () => {
    const urls = listHostileUrls(8080).map(({ url }) => url);
    expect(new Set(urls).size).toBe(urls.length);
    expect(urls.length).toBeGreaterThanOrEqual(300);
  });

  it.each([
    ['', /cannot be read/],
    ['example.com', /cannot be read/],
    ['/hook', /cannot be read/],
    ['http://', /cannot be read/],
    ['http://[fe80::1%25eth0]/', /cannot be read/],
    ['http://example.com:65536/', /cannot be read/],
    ['http://example.com:-1/', /cannot be read/],
    ['http://256.0.0.1/', /cannot be read/],
    ['http://1.2.3.4.5/', /cannot be read/],
    ['http://exa%00mple.com/', /cannot be read/],
    ['http://example.com:0/', /port/],
    ['ftp://example.com/', /must begin with/],
    ['file:///etc/passwd', /must begin with/],
    ['javascript:alert(1)', /must begin with/],
    ['ws://example.com/', /must begin with/],
    ['unix:///var/run/docker.sock', /must begin with/],
    ['http://user@example.com/', /user name or password/],
    ['http://:secret@example.com/', /user name or password/],
    ['http://127.0.0.1@example.com/', /user name or password/],
    ['http://example.com/a b', /space or a control/],
    ['http://exam\nple.com/', /space or a control/],
    ['\thttp://example.com/', /space or a control/],
    ['http://example.com/\u0085', /space or a control/],
    ['http://a..b.com/', /not a valid name/],
    ['http://a.com../', /not a valid name/],
    ['http://./', /not a valid name/],
    ['http://a!b.com/', /not a valid name/],
    [`http://${'a'.repeat(64)}.com/`, /not a valid name/],
    [`http://${'a.'.repeat(HOST_NAME_LENGTH_MAX / 2)}abc/`, /not a valid name/],
    [`http://example.com/${'a'.repeat(URL_LENGTH_MAX)}`, /longer than 2048/],
  ])('refuses %j', (url, reason) => {
    expect(strict.checkUrl(url)).toEqual({ ok: false, kind: 'malformed', reason: expect.stringMatching(reason) });
  });

  it('a URL of exactly the greatest length passes', () => {
    const url = 'http://example.com/'.padEnd(URL_LENGTH_MAX, 'a');
    expect(strict.checkUrl(url)).toMatchObject({ ok: true });
    expect(strict.checkUrl(`${url}a`)).toMatchObject({ ok: false });
  });

  it.each([['127.0.0.0/8'], ['::1/128']])('allowing %s allows localhost', (range) => {
    const policy = createEgressPolicy({ allow: [range], deny: [] });
    expect(policy.checkUrl('http://localhost:9/')).toMatchObject({ ok: true, origin: 'http://localhost:9' });
    expect(policy.checkUrl('http://app.localhost/')).toMatchObject({ ok: true });
  });

  it('an address that the settings allow passes as a literal', () => {
    const policy = createEgressPolicy({ allow: ['127.0.0.0/8', '::1'], deny: ['127.0.0.9'] });
    expect(policy.checkUrl('http://0x7f.1:80/')).toMatchObject({
      ok: true,
      origin: 'http://127.0.0.1',
      host: '127.0.0.1',
    });
    expect(policy.checkUrl('http://[::1]:9/')).toMatchObject({ ok: true, origin: 'http://[::1]:9', host: '::1' });
    expect(policy.checkUrl('http://127.0.0.9/')).toMatchObject({ ok: false, kind: 'blocked' });
  });
});
