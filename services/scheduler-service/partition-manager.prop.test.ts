import fc from 'fast-check';
import { expect, test } from 'vitest';
import { countShare } from './partition-manager.ts';

test('shares are all partitions together, and differ by one at most', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1024 }), fc.integer({ min: 1, max: 100 }), (partitions, schedulers) => {
      const shares = Array.from({ length: schedulers }, (_, peersBefore) =>
        countShare({ partitionCount: partitions, peers: schedulers - 1, peersBefore }),
      );
      expect(shares.reduce((sum, share) => sum + share, 0)).toBe(partitions);
      expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
    }),
  );
});
