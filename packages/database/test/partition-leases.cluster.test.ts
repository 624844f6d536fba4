import {
  acquirePartitionLeases,
  type HeldLease,
  readMonotonicMs,
  releasePartitionLeases,
  renewPartitionLeases,
} from '@punctual/database';
import { createId } from '@punctual/domain';
import { TEST_PARTITION_COUNT, useTestDatabase, waitUntil } from '@punctual/testkit';
import { beforeEach, describe, expect, it } from 'vitest';

const db = useTestDatabase(8);
const OWNERS = 6;
/** Times that somebody came to own a partition, until a test has seen enough. */
const OWNERSHIPS = 500;

beforeEach(async () => {
  await db.database.ordinary.query(`UPDATE partition_leases SET owner_id = NULL, expires_at = '-infinity'`);
});

/** From when until when an owner was told that a partition is its own. */
interface Ownership {
  owner: string;
  partition: number;
  epoch: number;
  fromMs: number;
  untilMs: number;
}

describe('partition leases', () => {
  it('have at most one owner at any time, whoever takes, prolongs, gives back or falls asleep', async () => {
    const ttlMs = 120;
    const ownerships: Ownership[] = [];
    const play = async (isSleeper: boolean) => {
      const owner = createId();
      const held = new Map<number, Ownership>();
      const note = (leases: readonly HeldLease[], askedAt: number) => {
        const answeredAt = readMonotonicMs();
        for (const { partition, epoch } of leases) {
          const known = held.get(partition);
          if (known && known.epoch === epoch) known.untilMs = askedAt + ttlMs;
          else {
            const ownership = { owner, partition, epoch, fromMs: answeredAt, untilMs: askedAt + ttlMs };
            held.set(partition, ownership);
            ownerships.push(ownership);
          }
        }
      };
      while (ownerships.length < OWNERSHIPS) {
        const askedAt = readMonotonicMs();
        const renewed = await renewPartitionLeases(db.database.hot, owner, ttlMs);
        note(renewed, askedAt);
        for (const partition of held.keys())
          if (!renewed.some((lease) => lease.partition === partition)) held.delete(partition);
        const acquiredAt = readMonotonicMs();
        note(
          await acquirePartitionLeases(db.database.hot, owner, 1 + Math.floor(Math.random() * 15), ttlMs),
          acquiredAt,
        );
        const given = [...held.keys()].filter(() => Math.random() < 0.2);
        const releasedAt = readMonotonicMs();
        for (const partition of given) {
          held.get(partition)!.untilMs = Math.min(held.get(partition)!.untilMs, releasedAt);
          held.delete(partition);
        }
        await releasePartitionLeases(db.database.hot, owner, given);
        // Asleep until its leases have run out, as far as the database is concerned.
        if (isSleeper && Math.random() < 0.3) {
          await waitUntil('the leases of the one who sleeps have run out', async () => {
            const { rowCount } = await db.database.ordinary.query(
              'SELECT FROM partition_leases WHERE owner_id = $1 AND expires_at > clock_timestamp()',
              [owner],
            );
            return rowCount === 0;
          });
        }
      }
    };
    await Promise.all(Array.from({ length: OWNERS }, (_, index) => play(index === 0)));
    for (const [partition, ofPartition] of Map.groupBy(ownerships, (ownership) => ownership.partition)) {
      const inTurn = ofPartition.toSorted((a, b) => a.epoch - b.epoch);
      for (const [index, next] of inTurn.entries()) {
        const before = inTurn[index - 1];
        if (!before) continue;
        expect(next.epoch, `the epoch of partition ${partition} rises`).toBeGreaterThan(before.epoch);
        if (before.owner !== next.owner)
          expect(next.fromMs, `two owners of partition ${partition}`).toBeGreaterThanOrEqual(before.untilMs);
      }
    }
  });

  it('are all given out when many ask at the same time, none of them twice', async () => {
    const taken = await Promise.all(
      Array.from({ length: 8 }, () => acquirePartitionLeases(db.database.hot, createId(), 20, 10_000)),
    );
    const rest = await acquirePartitionLeases(db.database.hot, createId(), 100, 10_000);
    const partitions = [...taken.flat(), ...rest].map(({ partition }) => partition);
    expect(partitions.toSorted((a, b) => a - b)).toEqual([...Array(TEST_PARTITION_COUNT).keys()]);
    for (const leases of taken) expect(leases.length).toBeLessThanOrEqual(20);
    expect(await acquirePartitionLeases(db.database.hot, createId(), 100, 10_000)).toEqual([]);
  });

  it('that have run out are not prolonged, not even when nobody has taken them', async () => {
    const owner = createId();
    await acquirePartitionLeases(db.database.hot, owner, 100, 50);
    await waitUntil('they have run out', async () => {
      const { rows } = await db.database.ordinary.query(
        'SELECT FROM partition_leases WHERE expires_at > clock_timestamp()',
      );
      return rows.length === 0;
    });
    expect(await renewPartitionLeases(db.database.hot, owner, 10_000)).toEqual([]);
  });

  it('that have run out may be taken by others, with a higher epoch', async () => {
    const [slow, quick] = [createId(), createId()];
    const first = await acquirePartitionLeases(db.database.hot, slow, 100, 50);
    const second = await waitUntil('the leases have run out', async () => {
      const leases = await acquirePartitionLeases(db.database.hot, quick, 100, 10_000);
      return leases.length > 0 ? leases : undefined;
    });
    expect(second.length).toBeGreaterThan(0);
    for (const { partition, epoch } of second) {
      expect(epoch).toBeGreaterThan(first.find((lease) => lease.partition === partition)!.epoch);
    }
    expect(await renewPartitionLeases(db.database.hot, slow, 10_000)).toEqual([]);
    await releasePartitionLeases(
      db.database.hot,
      slow,
      second.map(({ partition }) => partition),
    );
    expect(
      await renewPartitionLeases(db.database.hot, quick, 10_000),
      "another's release changes nothing",
    ).toHaveLength(second.length);
  });

  it('given back may be taken at once', async () => {
    const [first, second] = [createId(), createId()];
    const leases = await acquirePartitionLeases(db.database.hot, first, 100, 60_000);
    await releasePartitionLeases(
      db.database.hot,
      first,
      leases.slice(0, 5).map(({ partition }) => partition),
    );
    const taken = await acquirePartitionLeases(db.database.hot, second, 100, 60_000);
    expect(taken.map(({ partition }) => partition).toSorted()).toEqual(
      leases
        .slice(0, 5)
        .map(({ partition }) => partition)
        .toSorted(),
    );
  });
});
