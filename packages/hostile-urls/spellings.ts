const at = (hosts: string): readonly string[] =>
  hosts
    .trim()
    .split(/\s+/)
    .map((host) => `http://${host}:{port}/`);

/**
 * URLs that lead to a hostile address although they do not name it in its usual form, and URLs that may not be called at
 * all. `{port}` stands for a port. Each group is one idea; readers of URLs differ in which of them they fall for.
 */
export const HOSTILE_SPELLINGS: Readonly<Record<string, readonly string[]>> = {
  decimal: at(`
    2130706433 2130706434 0 167772161 3232235521 2886729729 2852039166 2851995649 1681915904 3323068416 3758096385
    4026531841 4294967295`),
  hex: at(`
    0x7f000001 0X7F000001 0x00000000007f000001 0x7f.0x0.0x0.0x1 0x7F.0.0.1 127.0x0.0.1 127.0.0.0x1 0x7f.1 0x7f.0.1
    0x0 0x0a000001 0xc0a80001 0xac100001 0xA9FEA9FE 0xa9.0xfe.0xa9.0xfe 0x64400001 0xe0000001 0xffffffff`),
  octal: at(`
    0177.0.0.1 0177.1 017700000001 00000000177.0.0.1 0177.0000.00.01 00 0000.0.0.0 012.0.0.1 0300.0250.0.1
    0254.020.0.1 0251.0376.0251.0376 025177524776`),
  short: at(`
    127.1 127.0.1 127.16777215 10.1 192.168.1 172.16.1 169.254.43518 169.16689662 100.4194305 0.0 0.0.0`),
  mixed: at(`
    0177.0x0.0.1 0x7f.0.0x0.01 127.0.0x0.01 0x7f.00.1 012.0x0.1 0xc0.0250.0.1 0xa9.0376.43518 0xac.020.1 10.0x1`),
  'trailing dot': at(`
    127.0.0.1. 2130706433. 0x7f.1. 0177.1. 10.0.0.1. 169.254.169.254. localhost. a.localhost.`),
  'Unicode digits': at(`
    １２７.０.０.１ ①②⑦.⓪.⓪.① ⑯⑨.②⑤④.⑯⑨.②⑤④ 𝟏𝟐𝟕.𝟎.𝟎.𝟏 𝟙𝟚𝟟.𝟘.𝟘.𝟙 𝟣𝟢.𝟢.𝟢.𝟣 ¹²⁷.⁰.⁰.¹ ₁₂₇.₀.₀.₁ ０ｘ７ｆ.１ ０ｘ７ｆ０００００１
    ０１７７.０.０.１ ２１３０７０６４３３ １0.0.0.1 ①⑨②.①⑥⑧.⓪.①`),
  'Unicode dots': at(
    '127。0。0。1 127．0．0．1 127｡0｡0｡1 10。0。0。1 169。254。169。254 0x7f。1 １２７。０．０｡１ localhost。',
  ),
  localhost: at('localhost LOCALHOST LocalHost app.localhost a.b.c.localhost APP.LOCALHOST. localhost.localhost'),
  'letters that become localhost': at(`
    ｌｏｃａｌｈｏｓｔ ⓛocalhost lⓞcalhost ℓocalhost localhoſt 𝐥𝐨𝐜𝐚𝐥𝐡𝐨𝐬𝐭 loc\u00adalhost local\u200bhost local\u2060host
    a.ⓛⓞⓒⓐⓛⓗⓞⓢⓣ`),
  'percent encoding': at(`
    127%2e0%2e0%2e1 %31%32%37.0.0.1 %31%32%37%2e%30%2e%30%2e%31 127.0.0.1%2e 0x7f%2e1 %30x7f.1 l%6fcalhost
    %6c%6f%63%61%6c%68%6f%73%74 localhost%2e %EF%BC%91%EF%BC%92%EF%BC%97.0.0.1 loc%C2%ADalhost 127%E3%80%820.0.1
    %5B::1%5D 127.0.0.1%00 127.0.0.1%0a 127.0.0.1%20 127.0.0.1%23.example.com 127.0.0.1%2f.example.com`),
  credentials: [
    'http://public@127.0.0.1:{port}/',
    'http://example.com@127.0.0.1:{port}/',
    'http://example.com:80@127.0.0.1:{port}/',
    'http://user:secret@localhost:{port}/',
    'http://example.com@[::1]:{port}/',
    'http://@127.0.0.1:{port}/',
    'http://:@127.0.0.1:{port}/',
    'http://a@b@127.0.0.1:{port}/',
    'http://example.com%40127.0.0.1:{port}/',
    'http://example.com%2f@127.0.0.1:{port}/',
    'http://example.com%23@127.0.0.1:{port}/',
    'http://127.0.0.1:{port}@example.com/',
  ],
  'slashes and backslashes': [
    'http:127.0.0.1:{port}/',
    'http:/127.0.0.1:{port}/',
    'http:///127.0.0.1:{port}/',
    'http://////127.0.0.1:{port}/',
    'http:\\\\127.0.0.1:{port}\\',
    'http:/\\127.0.0.1:{port}/',
    'http:\\/127.0.0.1:{port}/',
    'http://\\127.0.0.1:{port}/',
    'http://127.0.0.1:{port}\\@example.com/',
    'http://127.0.0.1:{port}\\.example.com/',
    'http://localhost:{port}\\example.com',
  ],
  'spaces and control characters': [
    ' http://127.0.0.1:{port}/',
    '\thttp://127.0.0.1:{port}/',
    'http://127.0.0.1:{port}/ ',
    'http://127.0.0.1\t:{port}/',
    'http://127.0.\n0.1:{port}/',
    'http://127.0.0.1:\r\n{port}/',
    'ht\ntp://127.0.0.1:{port}/',
    'http:\t//localhost:{port}/',
    'http://local\thost:{port}/',
    'http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: example.com\r\n\r\n',
    'http://127.0.0.1:{port}/\u0085',
    '\u001fhttp://127.0.0.1:{port}/',
    '\ufeffhttp://127.0.0.1:{port}/',
    'http://example.com\u2028@127.0.0.1:{port}/',
    'http://\u00a0127.0.0.1:{port}/',
  ],
  'ports, paths, case': [
    'http://127.0.0.1:{port}',
    'http://127.0.0.1:00{port}/',
    'http://127.0.0.1:/',
    'http://127.0.0.1/',
    'http://127.0.0.1:0/',
    'http://127.0.0.1:{port}?x',
    'http://127.0.0.1:{port}#x',
    'http://127.0.0.1:{port}/%2e%2e/..//',
    'HTTP://127.0.0.1:{port}/',
    'hTtP://[::1]:{port}',
    'https://127.0.0.1:{port}/',
    'https://localhost:{port}/',
    'https://[::1]:{port}/',
    'http://[::1]:{port}/latest/meta-data/',
    'http://169.254.169.254/latest/meta-data/',
  ],
  'zone ids and broken brackets': [
    'http://[::1%lo]:{port}/',
    'http://[::1%25lo]:{port}/',
    'http://[fe80::1%25eth0]:{port}/',
    'http://[::ffff:127.0.0.1%25]:{port}/',
    'http://[127.0.0.1]:{port}/',
    'http://[localhost]:{port}/',
    'http://[::1:{port}/',
    'http://::1:{port}/',
  ],
  'other schemes': [
    'ftp://127.0.0.1:{port}/',
    'ws://127.0.0.1:{port}/',
    'wss://localhost:{port}/',
    'gopher://127.0.0.1:{port}/_GET%20/',
    'dict://127.0.0.1:{port}/info',
    'ldap://127.0.0.1:{port}/',
    'redis://127.0.0.1:{port}/0',
    'postgres://127.0.0.1:{port}/punctual',
    'file:///etc/passwd',
    'file://127.0.0.1/etc/passwd',
    'unix:///var/run/docker.sock',
    'http+unix://%2Fvar%2Frun%2Fdocker.sock/',
    'view-source:http://127.0.0.1:{port}/',
    'blob:http://127.0.0.1:{port}/x',
    'javascript:fetch("http://127.0.0.1:{port}/")',
    'data:text/html,<img/src=http://127.0.0.1:{port}/>',
    'about:blank',
    '//127.0.0.1:{port}/',
    '127.0.0.1:{port}',
    'localhost:{port}/x',
    '/hook',
  ],
};
