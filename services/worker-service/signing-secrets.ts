import { type Database, nameStatement } from '@punctual/database';

const selectSecrets = nameStatement<{ signing_secrets: string[] }>(
  'read_signing_secrets',
  'SELECT signing_secrets FROM tenants WHERE id = $1',
);

/** How long a tenant's secrets are good without asking again (ms): a rotated secret is used everywhere after that. */
const SECRETS_TTL_MS = 5_000;
/** Tenants whose secrets are kept. */
const TENANTS_MAX = 10_000;

interface KnownSecrets {
  secrets: string[];
  readAt: number;
}

/** The tenants' signing secrets, remembered for a few seconds. */
export class SigningSecrets {
  readonly #database: Database;
  readonly #known = new Map<string, KnownSecrets>();
  readonly #reading = new Map<string, Promise<string[]>>();

  constructor(database: Database) {
    this.#database = database;
  }

  /** As `read`, at once; undefined when they must be read. */
  peek(tenantId: string): string[] | undefined {
    const known = this.#known.get(tenantId);
    return known && performance.now() - known.readAt < SECRETS_TTL_MS ? known.secrets : undefined;
  }

  /** The current secret first; empty when requests of this tenant are not signed. Rejects when Postgres is away. */
  read(tenantId: string): Promise<string[]> {
    let reading = this.#reading.get(tenantId);
    if (!reading) {
      reading = this.#read(tenantId).finally(() => this.#reading.delete(tenantId));
      this.#reading.set(tenantId, reading);
    }
    return reading;
  }

  async #read(tenantId: string): Promise<string[]> {
    const readAt = performance.now();
    const [row] = await selectSecrets(this.#database.hot, [tenantId]);
    const secrets = row?.signing_secrets ?? [];
    this.#known.delete(tenantId);
    this.#known.set(tenantId, { secrets, readAt });
    if (this.#known.size > TENANTS_MAX) this.#known.delete(this.#known.keys().next().value!);
    return secrets;
  }
}
