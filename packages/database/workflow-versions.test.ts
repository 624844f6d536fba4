import { expect, test } from 'vitest';
import { type StoredTask, weighVersion } from './workflow-versions.ts';

const weigh = (...tasks: StoredTask[]) => weighVersion(JSON.stringify(tasks), tasks);
const call = (url: string): StoredTask => ({ key: 'a', action: { type: 'http', url } });

test('a version weighs its text, and what its expressions become when they are compiled', () => {
  const plain = weigh(call('http://h/{{ input.a }}'));
  expect(plain).toBeLessThan(200);
  const templates = { ...call('http://h/{{ input.a }}'), hasTemplates: true };
  expect(weigh(templates)).toBeGreaterThan(plain + 3_000);
  expect(weigh({ ...call('http://h/'), when: 'input.a > 1' })).toBeGreaterThan(3_000);
  // 30 comparisons in one expression were measured to take 58,800 bytes.
  const long = Array.from({ length: 30 }, (_, n) => `input.v0_${n} > ${n}`).join(' && ');
  expect(weigh({ ...call(`http://h/{{ ${long} }}`), hasTemplates: true })).toBeGreaterThan(50_000);
});

test('two expressions weigh twice as much as one', () => {
  const one = weigh({ ...call('{{ input.a }}'), hasTemplates: true });
  const two = weigh({ ...call('{{ input.a }}{{ input.b }}'), hasTemplates: true });
  expect(two - one).toBeGreaterThan(3_000);
});
