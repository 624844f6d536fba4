import { createSocket } from 'node:dgram';

/**
 * What a name is answered: its addresses of the family asked for (those of the other are left out), that it does not
 * exist, that the server failed or refuses, or nothing at all.
 */
export type DnsAnswer = readonly string[] | 'unknown' | 'fails' | 'refuses' | 'stalls';

/** A DNS server on loopback. */
export interface DnsServer {
  /** As `address:port`. */
  address: string;
  /** What was asked, in order: `name A` or `name AAAA`. */
  queries: string[];
  close(): Promise<void>;
}

const TYPE_A = 1;
const TYPE_AAAA = 28;
const CLASS_IN = 1;
const HEADER_BYTES = 12;
/** Points to the name in the question. */
const NAME_POINTER = 0xc000 | HEADER_BYTES;
/** For how long a client may keep an answer (s): a name that rebinds has it asked for each time. */
const TIME_TO_LIVE_SECONDS = 0;
const RESPONSE_FLAGS = 0x8180;
const CODES = { unknown: 3, fails: 2, refuses: 5 } as const;

/** Answers as `answer` says, which is asked for each query with the name in lower case. */
export async function startDnsServer(answer: (name: string, family: 4 | 6) => DnsAnswer): Promise<DnsServer> {
  const queries: string[] = [];
  const socket = createSocket('udp4');
  socket.on('message', (query, peer) => {
    const { name, type, end } = readQuestion(query);
    const family = type === TYPE_AAAA ? 6 : 4;
    queries.push(`${name} ${family === 6 ? 'AAAA' : 'A'}`);
    const chosen = answer(name, family);
    if (chosen === 'stalls') return;
    const code = typeof chosen === 'string' ? CODES[chosen] : 0;
    const addresses = typeof chosen === 'string' ? [] : chosen.filter((each) => each.includes(':') === (family === 6));
    const header = Buffer.from(query.subarray(0, HEADER_BYTES));
    header.writeUInt16BE(RESPONSE_FLAGS | code, 2);
    header.writeUInt16BE(addresses.length, 6);
    // No authority, and nothing further.
    header.writeUInt32BE(0, 8);
    const parts = [header, query.subarray(HEADER_BYTES, end), ...addresses.map(encodeRecord)];
    socket.send(Buffer.concat(parts), peer.port, peer.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return {
    address: `127.0.0.1:${socket.address().port}`,
    queries,
    close: () => new Promise((resolve) => socket.close(() => resolve())),
  };
}

function readQuestion(query: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  // The name's end, its type and its class.
  return { name: labels.join('.').toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 };
}

function encodeRecord(address: string): Buffer {
  const isV6 = address.includes(':');
  const data = isV6 ? encodeIpv6(address) : Buffer.from(address.split('.').map(Number));
  const fixed = Buffer.alloc(12);
  fixed.writeUInt16BE(NAME_POINTER, 0);
  fixed.writeUInt16BE(isV6 ? TYPE_AAAA : TYPE_A, 2);
  fixed.writeUInt16BE(CLASS_IN, 4);
  fixed.writeUInt32BE(TIME_TO_LIVE_SECONDS, 6);
  fixed.writeUInt16BE(data.length, 10);
  return Buffer.concat([fixed, data]);
}

/** In groups of hexadecimal digits alone, `::` for those left out. */
function encodeIpv6(address: string): Buffer {
  const [before = [], after = []] = address.split('::').map((half) => half.split(':').filter((group) => group !== ''));
  const groups = [...before, ...Array<string>(8 - before.length - after.length).fill('0'), ...after];
  const data = Buffer.alloc(16);
  for (const [index, group] of groups.entries()) data.writeUInt16BE(Number.parseInt(group, 16), index * 2);
  return data;
}
