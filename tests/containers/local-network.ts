import { randomInt } from 'node:crypto';
import { type DnsServer, startDnsServer } from '@punctual/testkit';
import type { ComposeFile } from './compose-file.ts';

/** The third part of an address in the default network; that of the other one stands in the compose file. */
const DEFAULT_NETWORK = 0;
const SUBNET = /^10\.88\.(\d+)\.0\/24$/;

/**
 * The networks of the compose file, on loopback addresses: `10.88.1.0/24` there is `127.N.1.0/24` here. Each container
 * gets addresses of its own, so that all have the ports that they have in the file; and names are answered as Docker
 * does, with the addresses of all containers of a service.
 */
export class LocalNetwork {
  readonly #file: ComposeFile;
  // Of several runs side by side each has its own.
  readonly #second = randomInt(64, 250);
  readonly #addresses = new Map<string, string[]>();
  /** The file's servers, each as `service:port`, and what stands for it here. */
  readonly #servers: Readonly<Record<string, string>>;
  #last = 1;
  dns!: DnsServer;

  private constructor(file: ComposeFile, servers: Readonly<Record<string, string>>) {
    this.#file = file;
    this.#servers = servers;
  }

  static async start(file: ComposeFile, servers: Readonly<Record<string, string>>): Promise<LocalNetwork> {
    const network = new LocalNetwork(file, servers);
    network.dns = await startDnsServer((name) => network.#addresses.get(name) ?? 'unknown');
    return network;
  }

  /** An address for one more container of a service, in the first of its networks. */
  add(service: string): string {
    const name = this.#file.services[service]?.networks?.[0] ?? 'default';
    const subnet = this.#file.networks[name]?.ipam?.config[0]?.subnet;
    const third = subnet === undefined ? DEFAULT_NETWORK : Number(SUBNET.exec(subnet)![1]);
    this.#last += 1;
    const address = `127.${this.#second}.${third}.${this.#last}`;
    this.#addresses.set(service, [...(this.#addresses.get(service) ?? []), address]);
    return address;
  }

  /** A value of the file, with addresses of this machine. */
  translate(value: string): string {
    const url = /^\w+:\/\/(?:\S+@)?(\w+:\d+)/.exec(value)?.[1];
    const server = url === undefined ? undefined : this.#servers[url];
    return server ?? value.replaceAll(/\b10\.88\./g, `127.${this.#second}.`);
  }

  close(): Promise<void> {
    return this.dns.close();
  }
}
