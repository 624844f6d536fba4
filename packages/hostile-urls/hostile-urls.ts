import { HOSTILE_ADDRESSES } from './addresses.ts';
import { HOSTILE_SPELLINGS } from './spellings.ts';

export interface HostileUrl {
  /** What it is, for the names of tests. */
  kind: string;
  url: string;
}

/** Every hostile address and spelling as a URL, at `port` where it names one: that at which a test listens. */
export function listHostileUrls(port: number): HostileUrl[] {
  const spellings = Object.entries(HOSTILE_SPELLINGS).flatMap(([kind, urls]) =>
    urls.map((url) => ({ kind, url: url.replaceAll('{port}', String(port)) })),
  );
  const addresses = Object.entries(HOSTILE_ADDRESSES).flatMap(([kind, list]) =>
    list.map((address) => ({ kind, url: `http://${address.includes(':') ? `[${address}]` : address}:${port}/` })),
  );
  return [...addresses, ...spellings];
}
