/** How deep a value may be nested, as everywhere in JSON that customers send, and in outputs. */
export const VALUE_DEPTH_MAX = 32;
/** Parts of one value: more than a megabyte of JSON can hold is not looked through. */
const PARTS_MAX = 600_000;

function isNested(value: unknown): boolean {
  return value !== null && typeof value === 'object' && !(value instanceof Date);
}

/**
 * What an expression yields, as JSON: whole numbers become numbers, instants their text. Throws what `refuse` makes of a value
 * that JSON has no form for.
 */
export function toJson(value: unknown, refuse: (fault: string) => Error): unknown {
  let parts = 0;
  const convert = (part: unknown, depth: number): unknown => {
    parts += 1;
    if ((depth >= VALUE_DEPTH_MAX && isNested(part)) || parts > PARTS_MAX) throw refuse('the value is too large');
    if (part === null || typeof part === 'string' || typeof part === 'boolean') return part;
    if (typeof part === 'number') {
      if (!Number.isFinite(part)) throw refuse('the value is no number that JSON can hold');
      return part;
    }
    if (typeof part === 'bigint') {
      if (part > Number.MAX_SAFE_INTEGER || part < Number.MIN_SAFE_INTEGER) {
        throw refuse('the value is no number that JSON can hold');
      }
      return Number(part);
    }
    if (Array.isArray(part)) return part.map((element) => convert(element, depth + 1));
    if (part instanceof Date) return part.toISOString();
    if (typeof part === 'object' && part !== null) {
      const prototype = Object.getPrototypeOf(part);
      if (prototype === Object.prototype || prototype === null || part instanceof Map) {
        const entries = part instanceof Map ? [...part] : Object.entries(part);
        return Object.fromEntries(entries.map(([key, inner]) => [String(key), convert(inner, depth + 1)]));
      }
    }
    throw refuse('the value is of a type that JSON has not');
  };
  return convert(value, 0);
}
