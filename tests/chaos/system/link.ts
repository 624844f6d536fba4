import { type Disturbance, type ServerProxy, startProxy } from '@punctual/testkit';

/** The way between two parts of the system, which can be disturbed. It may consist of several, one to each process. */
export interface Link {
  /** Where its ways begin, in the order of what they lead to. */
  urls: readonly string[];
  disturb(disturbance: Disturbance): void;
  restore(): Promise<void>;
  close(): Promise<void>;
}

/** Ways to all of `urls`, which are disturbed together. */
export async function openLink(targets: readonly string[], random: () => number): Promise<Link> {
  await using opened = new AsyncDisposableStack();
  const ways: ServerProxy[] = [];
  for (const target of targets) {
    const way = await startProxy(target, random);
    opened.defer(() => way.close());
    ways.push(way);
  }
  const all = opened.move();
  return {
    urls: ways.map(({ url }) => url),
    disturb(disturbance) {
      for (const way of ways) way.disturb(disturbance);
    },
    async restore() {
      await Promise.all(ways.map((way) => way.restore()));
    },
    close: () => all.disposeAsync(),
  };
}
