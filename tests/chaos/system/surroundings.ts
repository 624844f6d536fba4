/** Servers and disks that a case brings along, in place of the single Postgres and Redis of a system, or beneath them. */
export interface Surroundings {
  /** Used directly, past all links. */
  redisUrl?: string;
  databaseUrl?: string;
  /** Where it is migrated, when that is another way. */
  migrateUrl?: string;
  /** Where the system's own Postgres is to keep its data. */
  postgresFolder?: string;
  /** Causes the fault; resolves when it is there, or when what it sets off is over. */
  strike(): Promise<void>;
  heal(): Promise<void>;
  stop(): Promise<void>;
}
