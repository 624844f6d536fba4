import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One request, as the endpoint wrote it down. Epoch ms. */
export interface LaneRequest {
  key: string;
  timerId: string;
  dueAt: number;
  beganAt: number;
  endedAt: number | undefined;
  /** Whether whoever sent it has gone before its answer. */
  isAbandoned: boolean;
}

export interface LaneEndpoint {
  /** The endpoint of a key: it answers after `durationMs`. */
  describeUrl(key: string, durationMs: number): string;
  requests: LaneRequest[];
  /** Pairs of requests that were being answered side by side, of those with one key. */
  overlaps: { earlier: LaneRequest; later: LaneRequest }[];
  stop(): Promise<void>;
}

/** An endpoint at which everybody's requests of one key are seen to overlap if they do. */
export async function startLaneEndpoint(): Promise<LaneEndpoint> {
  const requests: LaneRequest[] = [];
  const overlaps: LaneEndpoint['overlaps'] = [];
  const open = new Map<string, Set<LaneRequest>>();
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url!, 'http://localhost');
    const key = decodeURIComponent(pathname.slice(1));
    const entry: LaneRequest = {
      key,
      timerId: String(request.headers['webhook-id']),
      dueAt: Date.parse(String(request.headers['punctual-due-at'])),
      beganAt: Date.now(),
      endedAt: undefined,
      isAbandoned: false,
    };
    const beside = open.getOrInsertComputed(key, () => new Set<LaneRequest>());
    for (const earlier of beside) overlaps.push({ earlier, later: entry });
    beside.add(entry);
    requests.push(entry);
    response.on('close', () => {
      if (entry.endedAt === undefined) entry.isAbandoned = true;
    });
    request.resume();
    setTimeout(
      () => {
        entry.endedAt = Date.now();
        beside.delete(entry);
        response.writeHead(200).end();
      },
      Number(searchParams.get('ms')),
    );
  });
  server.keepAliveTimeout = 600_000;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    describeUrl: (key, durationMs) => `http://127.0.0.1:${port}/${encodeURIComponent(key)}?ms=${durationMs}`,
    requests,
    overlaps,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
