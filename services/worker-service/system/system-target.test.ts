import { createId } from '@punctual/domain';
import { expect, it } from 'vitest';
import { createSystemTarget, type LongTurn, SYSTEM_TURNS_MAX } from './system-target.ts';

it('few turns are made at once: the others are asked for again, and a place is free when a turn ends or fails', async () => {
  const ends: { resolve: (turn: LongTurn) => void; reject: (error: unknown) => void }[] = [];
  const target = createSystemTarget({
    bulk: { run: () => new Promise<LongTurn>((resolve, reject) => ends.push({ resolve, reject })) },
    schedules: { run: () => Promise.resolve('moved') },
  });
  const perform = () =>
    target.perform({ type: 'system', task: 'bulk-operation', id: createId() }, { id: createId(), version: 2 });
  const turns = Array.from({ length: SYSTEM_TURNS_MAX }, perform);
  for (let time = 0; time < 20; time += 1) {
    const turn = await perform();
    if (turn === 'done' || turn === 'moved') throw new Error('a turn too many was made');
    expect(turn.againInMs).toBeGreaterThanOrEqual(500);
    expect(turn.againInMs).toBeLessThanOrEqual(1_500);
  }
  expect(ends).toHaveLength(SYSTEM_TURNS_MAX);
  ends[0]!.resolve('done');
  expect(await turns[0]).toBe('done');
  const failing = perform();
  // It must not be back before those that were sent away meanwhile.
  ends[1]!.resolve({ againInMs: 0 });
  expect(((await turns[1]) as { againInMs: number }).againInMs).toBeGreaterThanOrEqual(500);
  const alone = perform();
  ends[3]!.resolve({ againInMs: 0 });
  expect(await alone).toEqual({ againInMs: 0 });
  ends[2]!.reject(new Error('away'));
  await expect(failing).rejects.toThrow('away');
  const last = [perform(), perform()];
  expect(ends).toHaveLength(6);
  for (const { resolve } of ends) resolve('done');
  expect(await Promise.all(last)).toEqual(['done', 'done']);
});
