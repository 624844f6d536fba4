/**
 * Items by the time when they are wanted, in whole ticks. Looking for the next goes through all ticks: meant for what is
 * wanted within some hundred of them, however many items those have.
 */
export class Agenda<Item> {
  readonly #byTick = new Map<number, Item[]>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The item is wanted at `at`, which is rounded up to a whole tick. */
  add(at: number, item: Item): void {
    const tick = Math.ceil(at);
    const items = this.#byTick.get(tick);
    if (items) items.push(item);
    else this.#byTick.set(tick, [item]);
    this.#size += 1;
  }

  /** The next tick at which something is wanted; Infinity when there is nothing. */
  findNext(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const tick of this.#byTick.keys()) if (tick < next) next = tick;
    return next;
  }

  /** Takes out what is wanted at `until` or before, in the order of its ticks. */
  take(until: number): Item[] {
    const ticks = [...this.#byTick.keys()].filter((tick) => tick <= until).toSorted((a, b) => a - b);
    const items = ticks.flatMap((tick) => this.#byTick.get(tick)!);
    for (const tick of ticks) this.#byTick.delete(tick);
    this.#size -= items.length;
    return items;
  }

  clear(): void {
    this.#byTick.clear();
    this.#size = 0;
  }
}
