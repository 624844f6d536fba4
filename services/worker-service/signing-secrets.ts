import { type Database, readSigningSecrets } from '@punctual/database';
import { type Keyring, UnreadableSecretError } from '@punctual/domain';

/**
 * How long a tenant's secrets are good without asking again (ms): within 5 s a new secret signs everywhere, the query itself
 * included.
 */
const SECRETS_TTL_MS = 4_000;
/** Tenants whose secrets are kept. */
const TENANTS_MAX = 10_000;

interface KnownSecrets {
  /** The present one first. */
  secrets: readonly { secret: string; endsAt: number }[];
  /** Those of `secrets` that sign until `changesAt`, when the first of them ends (by `now`). */
  signing: readonly string[];
  changesAt: number;
  readAt: number;
  /** Why they can not be read. */
  error: UnreadableSecretError | undefined;
}

/**
 * The tenants' signing secrets, remembered for a few seconds. One whose time ends meanwhile signs no longer than that, by
 * the database's clock. Where one of a tenant's secrets can not be decrypted there are none: whoever verifies with that one
 * would refuse the request.
 */
export class SigningSecrets {
  readonly #database: Pick<Database, 'hot'>;
  readonly #keyring: Keyring;
  readonly #now: () => number;
  readonly #known = new Map<string, KnownSecrets>();
  readonly #reading = new Map<string, Promise<KnownSecrets>>();

  /** `now`: milliseconds of a clock that never goes back. */
  constructor(database: Pick<Database, 'hot'>, keyring: Keyring, now: () => number = () => performance.now()) {
    this.#database = database;
    this.#keyring = keyring;
    this.#now = now;
  }

  /** As `read`, at once; undefined when they must be read. Throws UnreadableSecretError. */
  peek(tenantId: string): readonly string[] | undefined {
    const known = this.#known.get(tenantId);
    const now = this.#now();
    return known && now - known.readAt < SECRETS_TTL_MS ? chooseSigning(known, now) : undefined;
  }

  /**
   * The present secret first; empty when requests of this tenant are not signed. Rejects when Postgres is away, and with
   * UnreadableSecretError.
   */
  async read(tenantId: string): Promise<readonly string[]> {
    let reading = this.#reading.get(tenantId);
    if (!reading) {
      reading = this.#read(tenantId).finally(() => this.#reading.delete(tenantId));
      this.#reading.set(tenantId, reading);
    }
    return chooseSigning(await reading, this.#now());
  }

  async #read(tenantId: string): Promise<KnownSecrets> {
    const readAt = this.#now();
    const known: KnownSecrets = { secrets: [], signing: [], changesAt: 0, readAt, error: undefined };
    try {
      const found = await readSigningSecrets(this.#database.hot, tenantId, this.#keyring);
      // Counted from before the question, so that none signs too long.
      known.secrets = found.map(({ secret, expiresInMs = Number.POSITIVE_INFINITY }) => ({
        secret,
        endsAt: readAt + expiresInMs,
      }));
    } catch (error) {
      if (!(error instanceof UnreadableSecretError)) throw error;
      // Remembered as well: a tenant's thousand timers must not ask a thousand times.
      known.error = error;
    }
    this.#known.delete(tenantId);
    this.#known.set(tenantId, known);
    if (this.#known.size > TENANTS_MAX) this.#known.delete(this.#known.keys().next().value!);
    return known;
  }
}

function chooseSigning(known: KnownSecrets, now: number): readonly string[] {
  if (known.error) throw known.error;
  if (now >= known.changesAt) {
    const signing = known.secrets.filter(({ endsAt }) => now < endsAt);
    known.signing = signing.map(({ secret }) => secret);
    known.changesAt = Math.min(...signing.map(({ endsAt }) => endsAt));
  }
  return known.signing;
}
