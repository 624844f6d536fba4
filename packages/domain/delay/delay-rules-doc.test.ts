import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parseInstant } from './instant.ts';
import { previewDelay } from './preview-delay.ts';
import { validateDelay } from './validate-delay.ts';

const page = readFileSync(new URL('../../../docs/delay-rules.md', import.meta.url), 'utf8');

/** The cells of the table that follows the marker, without its two head lines. */
function readTable(marker: string): string[][] {
  const lines = page
    .slice(page.indexOf(`<!-- ${marker}:`))
    .split('\n')
    .slice(2);
  const end = lines.findIndex((line) => !line.startsWith('|'));
  const rows = (end === -1 ? lines : lines.slice(0, end)).slice(2);
  return rows.map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

function readRule(cell: string): unknown {
  return cell === 'none' ? undefined : JSON.parse(cell.slice(1, -1));
}

const examples = readTable('examples');
const refused = readTable('refused');

test('the page has both tables', () => {
  // Guards the rows below: a table that is not found would check nothing.
  expect(examples.length).toBeGreaterThan(40);
  expect(refused.length).toBeGreaterThan(15);
});

describe('every example of the page is what the engine does', () => {
  test.each(examples)('%s zone %s anchor %s gives %s %s', (rule, zone, anchor, due, notes) => {
    const delay = readRule(rule!) as Parameters<typeof previewDelay>[0];
    expect(validateDelay(delay)).toEqual([]);
    const preview = previewDelay(delay, {
      fromAt: parseInstant(anchor!)!,
      timeZone: zone === '–' ? undefined : zone,
    });
    const kind = due === 'skip' || due === 'reject' ? due : 'due';
    expect(preview).toMatchObject({
      kind,
      dueAt: kind === 'due' ? parseInstant(due!) : null,
      notes: notes === '' ? [] : notes!.split(' '),
    });
    if (kind === 'due') expect(preview.local?.replace('.000', '')).toBe(due);
  });
});

describe('every refused rule of the page is refused where it says', () => {
  test.each(refused)('%s at %s', (rule, pointers) => {
    const found = validateDelay(readRule(rule!)).map(({ pointer }) => (pointer === '' ? '(the rule)' : pointer));
    expect(found.join(' ')).toBe(pointers);
  });
});
