import { type DnsAnswer, type DnsServer, startDnsServer, waitUntil } from '@punctual/testkit';
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  ADDRESSES_KEPT_MS,
  createHostResolver,
  NAMES_MAX,
  type ResolvedAddress,
  type ResolveHost,
  SYSTEM_LOOKUPS_MAX,
} from './host-resolver.ts';

const opened: DnsServer[] = [];
afterEach(async () => {
  for (const server of opened.splice(0)) await server.close();
});

/** Knows a few names by heart, and never answers for those that begin with `stalled`. */
async function startNames(): Promise<{ server: string; queries: string[] }> {
  const dns = await startDnsServer((name, family): DnsAnswer => {
    if (name.startsWith('stalled')) return 'stalls';
    if (name === 'failing.example') return 'fails';
    if (name === 'half-failing.example') return family === 4 ? [] : 'fails';
    if (name === 'both.example') return ['192.0.2.7', '2001:db8::7'];
    return name === 'only-v4.example' ? ['192.0.2.7'] : 'unknown';
  });
  opened.push(dns);
  return { server: dns.address, queries: dns.queries };
}

const unknownToSystem: ResolveHost = () => Promise.reject(Object.assign(new Error('unknown'), { code: 'ENOTFOUND' }));
const v4: ResolvedAddress = { address: '192.0.2.7', family: 4 };

describe('a resolver', () => {
  it('returns the addresses of both families, or of the one that there is', async () => {
    const { server } = await startNames();
    const resolveHost = createHostResolver({ servers: [server], lookUpInSystem: unknownToSystem });
    expect(await resolveHost('both.example')).toEqual([v4, { address: '2001:db8::7', family: 6 }]);
    expect(await resolveHost('only-v4.example')).toEqual([v4]);
  });

  it('asks the system for what DNS does not know, and for nothing else', async () => {
    const { server } = await startNames();
    const asked: string[] = [];
    const resolveHost = createHostResolver({
      servers: [server],
      lookUpInSystem: (host) => {
        asked.push(host);
        return host === 'printer.local' ? Promise.resolve([v4]) : unknownToSystem(host);
      },
    });
    await resolveHost('both.example');
    expect(await resolveHost('printer.local')).toEqual([v4]);
    await expect(resolveHost('nowhere.invalid')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    for (const host of ['failing.example', 'half-failing.example']) {
      await expect(resolveHost(host)).rejects.toMatchObject({ code: 'ESERVFAIL' });
    }
    expect(asked).toEqual(['printer.local', 'nowhere.invalid']);
  });

  it('asks nobody but the servers that it was told of, where it was told so', async () => {
    const { server } = await startNames();
    const lookUpInSystem = vi.fn(unknownToSystem);
    const resolveHost = createHostResolver({ mode: 'servers', servers: [server], lookUpInSystem });
    expect(await resolveHost('only-v4.example')).toEqual([v4]);
    await expect(resolveHost('nowhere.invalid')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    await expect(resolveHost('localhost')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    expect(lookUpInSystem).not.toHaveBeenCalled();
  });

  it('answers at once while many other names stall', async () => {
    const { server, queries } = await startNames();
    const resolveHost = createHostResolver({ servers: [server], lookUpInSystem: unknownToSystem });
    const stalled = Array.from({ length: 64 }, (_, index) => resolveHost(`stalled-${index}.example`));
    for (const each of stalled) each.catch(() => {});
    await waitUntil('all of them were asked for', () => queries.length >= 128);
    expect(await resolveHost('only-v4.example')).toEqual([v4]);
    let isAnyAnswered = false;
    void Promise.race(stalled.map((each) => each.catch(() => {}))).then(() => {
      isAnyAnswered = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(isAnyAnswered).toBe(false);
  });

  it('asks once for a name that many want, and again only after a while', async () => {
    const { server, queries } = await startNames();
    let nowMs = 0;
    const resolveHost = createHostResolver({ servers: [server], lookUpInSystem: unknownToSystem, now: () => nowMs });
    await Promise.all(Array.from({ length: 20 }, () => resolveHost('only-v4.example')));
    expect(queries.sort()).toEqual(['only-v4.example A', 'only-v4.example AAAA']);
    nowMs = ADDRESSES_KEPT_MS - 1;
    await resolveHost('only-v4.example');
    expect(queries).toHaveLength(2);
    nowMs = ADDRESSES_KEPT_MS;
    await resolveHost('only-v4.example');
    expect(queries).toHaveLength(4);
  });

  it('does not remember failures', async () => {
    let isKnown = false;
    const resolveHost = createHostResolver({
      mode: 'system',
      lookUpInSystem: (host) => (isKnown ? Promise.resolve([v4]) : unknownToSystem(host)),
    });
    await expect(resolveHost('name.example')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    isKnown = true;
    expect(await resolveHost('name.example')).toEqual([v4]);
  });

  it('in system mode asks the operating system alone, a few names at a time', async () => {
    const { server, queries } = await startNames();
    const answers: (() => void)[] = [];
    const resolveHost = createHostResolver({
      mode: 'system',
      servers: [server],
      lookUpInSystem: () => new Promise((resolve) => answers.push(() => resolve([v4]))),
    });
    const lookups = Array.from({ length: SYSTEM_LOOKUPS_MAX + 3 }, (_, index) => resolveHost(`name-${index}.example`));
    for (let answered = 0; answered < lookups.length; answered += 1) {
      await waitUntil('a lookup has begun', () => answers.length > answered);
      expect(answers.length).toBeLessThanOrEqual(answered + SYSTEM_LOOKUPS_MAX);
      answers[answered]?.();
    }
    expect(await Promise.all(lookups)).toEqual(lookups.map(() => [v4]));
    expect(queries).toEqual([]);
  });

  it('knows the names of the hosts file', async () => {
    expect(await createHostResolver({ mode: 'system' })('localhost')).toContainEqual({
      address: '127.0.0.1',
      family: 4,
    });
  });

  it('keeps a limited number of addresses, the oldest give way, and fails only when as many names are being asked for', async () => {
    let asked = 0;
    let isStalled = false;
    const resolveHost = createHostResolver({
      mode: 'system',
      lookUpInSystem: () => {
        asked += 1;
        return isStalled ? new Promise(() => {}) : Promise.resolve([v4]);
      },
      now: () => 0,
    });
    await Promise.all(Array.from({ length: NAMES_MAX }, (_, index) => resolveHost(`${index}.example`)));
    expect(await resolveHost('one-more.example')).toEqual([v4]);
    expect(asked).toBe(NAMES_MAX + 1);
    // The first gave way to it; the last is kept.
    await resolveHost(`${NAMES_MAX - 1}.example`);
    expect(asked).toBe(NAMES_MAX + 1);
    await resolveHost('0.example');
    expect(asked).toBe(NAMES_MAX + 2);
    isStalled = true;
    for (let index = 0; index < NAMES_MAX; index += 1) void resolveHost(`stalled-${index}.example`);
    await expect(resolveHost('too-many.example')).rejects.toMatchObject({ code: 'EBUSY' });
  });
});
