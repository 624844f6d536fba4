import type { FastifyRequest } from 'fastify';
import type { ApiServer } from '../api-server.ts';
import type { ApiContext } from '../context.ts';
import { createOverloaded } from '../problem.ts';

/** What one tenant's bodies may take of the room while others' may come (share). */
const TENANT_SHARE_MAX = 0.5;
/** A body of so many bytes is small: a timer, an edit, a cancel. */
const SMALL_BYTES_MAX = 16_384;
/** What is kept for small bodies (share): large ones, however slowly they come, do not keep anybody from setting a timer. */
const SMALL_SHARE = 0.25;

/**
 * Room for the bodies of requests that are under way (bytes): each takes its announced size from before it is read until it is
 * answered, since what it was parsed into lives as long. Small bodies have a room of their own.
 */
export class BodyRoom {
  readonly #small: Room;
  readonly #large: Room;

  constructor(bytesMax: number) {
    this.#small = new Room(bytesMax * SMALL_SHARE);
    this.#large = new Room(bytesMax * (1 - SMALL_SHARE));
  }

  get takenBytes(): number {
    return this.#small.takenBytes + this.#large.takenBytes;
  }

  /** Whether there was room. A tenant of which nothing is under way gets more than its share, so that its largest body fits. */
  take(tenantId: string, bytes: number): boolean {
    return this.#choose(bytes).take(tenantId, bytes);
  }

  give(tenantId: string, bytes: number): void {
    this.#choose(bytes).give(tenantId, bytes);
  }

  #choose(bytes: number): Room {
    return bytes <= SMALL_BYTES_MAX ? this.#small : this.#large;
  }
}

class Room {
  readonly #bytesMax: number;
  readonly #takenByTenant = new Map<string, number>();
  takenBytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  take(tenantId: string, bytes: number): boolean {
    const ofTenant = this.#takenByTenant.get(tenantId) ?? 0;
    if (this.takenBytes + bytes > this.#bytesMax) return false;
    if (ofTenant > 0 && ofTenant + bytes > this.#bytesMax * TENANT_SHARE_MAX) return false;
    this.takenBytes += bytes;
    this.#takenByTenant.set(tenantId, ofTenant + bytes);
    return true;
  }

  give(tenantId: string, bytes: number): void {
    this.takenBytes -= bytes;
    const left = (this.#takenByTenant.get(tenantId) ?? 0) - bytes;
    if (left > 0) this.#takenByTenant.set(tenantId, left);
    else this.#takenByTenant.delete(tenantId);
  }
}

/**
 * Answers 503 to requests whose bodies there is no room for, before a byte of them is kept: many large ones at once would
 * end the process for want of memory. To be added after authentication, so that nobody takes room who may not come in.
 */
export function addBodyRoom(app: ApiServer, { bodyRoom }: Pick<ApiContext, 'bodyRoom'>): void {
  app.addHook('preParsing', (request, reply, payload, done) => {
    const bytes = readAnnouncedBytes(request);
    if (bytes > 0) {
      if (!bodyRoom.take(request.tenantId, bytes)) {
        done(createOverloaded('Too many large bodies are under way; try again in a moment.'));
        return;
      }
      const { tenantId } = request;
      const give = () => bodyRoom.give(tenantId, bytes);
      // No hook is called for a client that goes away before its body is whole; it may have gone while its key was looked up.
      if (reply.raw.destroyed) give();
      else reply.raw.once('close', give);
    }
    done(null, payload);
  });
}

/** What the body has at most (bytes): larger ones are refused while they are read. */
function readAnnouncedBytes({ headers, routeOptions }: FastifyRequest): number {
  const { bodyLimit = 0 } = routeOptions;
  if (headers['transfer-encoding'] !== undefined) return bodyLimit;
  return Math.min(Number(headers['content-length'] ?? 0) || 0, bodyLimit);
}
