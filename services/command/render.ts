import CliTable from 'cli-table3';
import { clean } from './terminal.ts';

/** A column of a table: a field by its name, or a heading and what stands below it. */
export type Column = string | readonly [heading: string, read: (item: Item) => unknown];
export type Item = Readonly<Record<string, unknown>>;

/** Longest text of a cell; whole values are shown with `--json`. */
const CELL_LENGTH_MAX = 60;
const EMPTY = '–';
/** No lines: columns with two spaces between them. */
const PLAIN = {
  chars: {
    top: '',
    'top-mid': '',
    'top-left': '',
    'top-right': '',
    bottom: '',
    'bottom-mid': '',
    'bottom-left': '',
    'bottom-right': '',
    left: '',
    'left-mid': '',
    mid: '',
    'mid-mid': '',
    right: '',
    'right-mid': '',
    middle: '  ',
  },
  style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
};

/** A table with a heading. */
export function renderTable(items: readonly Item[], columns: readonly Column[]): string {
  const heads = columns.map((column) => (typeof column === 'string' ? nameHeading(column) : column[0]));
  const table = new CliTable({ ...PLAIN, head: heads });
  for (const item of items) {
    table.push(columns.map((column) => renderCell(typeof column === 'string' ? item[column] : column[1](item))));
  }
  return trimLines(table.toString());
}

/** One thing: its fields one below the other, and lists of things that it holds as tables. */
export function renderItem(item: Item): string {
  const isTable = (value: unknown): value is Item[] =>
    Array.isArray(value) && value.length > 0 && value.every((part) => typeof part === 'object' && part !== null);
  const plain = Object.entries(item).filter(([, value]) => value !== undefined && !isTable(value));
  const table = new CliTable(PLAIN);
  for (const [name, value] of plain) table.push([nameHeading(name), renderCell(value)]);
  const tables = Object.entries(item).flatMap(([name, value]) =>
    isTable(value) ? [`\n${nameHeading(name)}\n${renderTable(value, chooseColumns(value))}`] : [],
  );
  return [trimLines(table.toString()), ...tables].join('\n');
}

/** Fields that every item of a list may have and that fit into a cell. */
export function chooseColumns(items: readonly Item[]): string[] {
  return [...new Set(items.flatMap((item) => Object.keys(item)))];
}

function nameHeading(name: string): string {
  return clean(name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)).toUpperCase();
}

function renderCell(value: unknown): string {
  if (value === undefined || value === null || value === '') return EMPTY;
  const text = clean(typeof value === 'object' ? JSON.stringify(value) : String(value));
  return text.length <= CELL_LENGTH_MAX ? text : `${text.slice(0, CELL_LENGTH_MAX - 1)}…`;
}

function trimLines(text: string): string {
  return text
    .split('\n')
    .map((line) => line.trimEnd())
    .filter((line) => line !== '')
    .join('\n');
}
