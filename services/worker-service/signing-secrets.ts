import { type Database, nameStatement } from '@punctual/database';

const selectSecrets = nameStatement<{ signing_secrets: string[] }>(
  'read_signing_secrets',
  'SELECT signing_secrets FROM tenants WHERE id = $1',
);

/** How long a tenant's secrets are good without asking again (ms): a rotated secret is used everywhere after that. */
const SECRETS_TTL_MS = 5_000;
/** Tenants whose secrets are kept. */
const TENANTS_MAX = 10_000;

/** The tenants' signing secrets, remembered for a few seconds. */
export class SigningSecrets {
  readonly #database: Database;
  readonly #known = new Map<string, { secrets: Promise<string[]>; readAt: number }>();

  constructor(database: Database) {
    this.#database = database;
  }

  /** The current secret first; empty when requests of this tenant are not signed. Rejects when Postgres is away. */
  read(tenantId: string): Promise<string[]> {
    const known = this.#known.get(tenantId);
    if (known && performance.now() - known.readAt < SECRETS_TTL_MS) return known.secrets;
    const secrets = selectSecrets(this.#database.hot, [tenantId]).then(([row]) => row?.signing_secrets ?? []);
    secrets.catch(() => this.#known.delete(tenantId));
    this.#known.delete(tenantId);
    this.#known.set(tenantId, { secrets, readAt: performance.now() });
    if (this.#known.size > TENANTS_MAX) this.#known.delete(this.#known.keys().next().value!);
    return secrets;
  }
}
