import { createSocket, type Socket } from 'node:dgram';
import { waitUntil } from '@punctual/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import {
  ADDRESSES_KEPT_MS,
  createHostResolver,
  NAMES_MAX,
  type ResolvedAddress,
  type ResolveHost,
  SYSTEM_LOOKUPS_MAX,
} from './host-resolver.ts';

const TYPE_A = 1;
const TYPE_AAAA = 28;
const NO_SUCH_NAME = 3;
const SERVER_FAILED = 2;

const opened: Socket[] = [];
afterEach(async () => {
  for (const socket of opened.splice(0)) await new Promise<void>((resolve) => socket.close(() => resolve()));
});

/** A DNS server on loopback that knows a few names by heart, and never answers for those that begin with `stalled`. */
async function startDnsServer(): Promise<{ server: string; queries: string[] }> {
  const queries: string[] = [];
  const socket = createSocket('udp4');
  opened.push(socket);
  socket.on('message', (query, peer) => {
    const labels: string[] = [];
    let at = 12;
    for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
      labels.push(query.toString('latin1', at + 1, at + 1 + length));
      at += 1 + length;
    }
    const name = labels.join('.').toLowerCase();
    const type = query.readUInt16BE(at + 1);
    queries.push(`${name} ${type === TYPE_A ? 'A' : 'AAAA'}`);
    if (name.startsWith('stalled')) return;
    const data = chooseAnswer(name, type);
    const isError = typeof data === 'number';
    const header = Buffer.from(query.subarray(0, 12));
    header.writeUInt16BE(0x8180 | (isError ? data : 0), 2);
    header.writeUInt16BE(!isError && data.length > 0 ? 1 : 0, 6);
    header.writeUInt32BE(0, 8);
    const question = query.subarray(12, at + 5);
    const parts: Uint8Array[] = [header, question];
    if (!isError && data.length > 0) {
      const fixed = Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 60, 0, data.length]);
      parts.push(fixed, data);
    }
    socket.send(Buffer.concat(parts), peer.port, peer.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', () => resolve()));
  return { server: `127.0.0.1:${socket.address().port}`, queries };
}

/** Bytes of the address, none when the name has no such, or the code of an error. */
function chooseAnswer(name: string, type: number): Buffer | number {
  if (name === 'failing.example') return SERVER_FAILED;
  if (name === 'half-failing.example') return type === TYPE_A ? Buffer.alloc(0) : SERVER_FAILED;
  const isKnown = name === 'both.example' || name === 'only-v4.example';
  if (!isKnown) return NO_SUCH_NAME;
  if (type === TYPE_A) return Buffer.from([192, 0, 2, 7]);
  if (type === TYPE_AAAA && name === 'both.example') return Buffer.from([0x20, 1, 0xd, 0xb8, ...Array(11).fill(0), 7]);
  return Buffer.alloc(0);
}

const unknownToSystem: ResolveHost = () => Promise.reject(Object.assign(new Error('unknown'), { code: 'ENOTFOUND' }));
const v4: ResolvedAddress = { address: '192.0.2.7', family: 4 };

describe('a resolver', () => {
  it('returns the addresses of both families, or of the one that there is', async () => {
    const { server } = await startDnsServer();
    const resolveHost = createHostResolver({ servers: [server], lookUpInSystem: unknownToSystem });
    expect(await resolveHost('both.example')).toEqual([v4, { address: '2001:db8::7', family: 6 }]);
    expect(await resolveHost('only-v4.example')).toEqual([v4]);
  });

  it('asks the system for what DNS does not know, and for nothing else', async () => {
    const { server } = await startDnsServer();
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

  it('answers at once while many other names stall', async () => {
    const { server, queries } = await startDnsServer();
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
    const { server, queries } = await startDnsServer();
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
    const { server, queries } = await startDnsServer();
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

  it('remembers a limited number of names, and makes room from those that lapsed', async () => {
    let nowMs = 0;
    let isStalled = false;
    const resolveHost = createHostResolver({
      mode: 'system',
      lookUpInSystem: () => (isStalled ? new Promise(() => {}) : Promise.resolve([v4])),
      now: () => nowMs,
    });
    await Promise.all(Array.from({ length: NAMES_MAX }, (_, index) => resolveHost(`${index}.example`)));
    await expect(resolveHost('one-more.example')).rejects.toMatchObject({ code: 'EBUSY' });
    expect(await resolveHost('0.example')).toEqual([v4]);
    nowMs = ADDRESSES_KEPT_MS;
    expect(await resolveHost('one-more.example')).toEqual([v4]);
    isStalled = true;
    for (let index = 1; index < NAMES_MAX; index += 1) void resolveHost(`stalled-${index}.example`);
    await expect(resolveHost('too-many.example')).rejects.toMatchObject({ code: 'EBUSY' });
  });
});
