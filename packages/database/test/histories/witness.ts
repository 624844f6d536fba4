import type { Row } from './operations.ts';

/**
 * Watches what was acknowledged, and knows of the model nothing: guarantees 2 and 3 of the design, and that versions
 * only rise, told by answers alone.
 */
export class Witness {
  readonly #versions = new Map<string, number>();
  readonly #cancelled = new Set<string>();
  /** Number of the last acknowledged edit of each timer. */
  readonly #edits = new Map<string, number>();
  readonly faults: string[] = [];

  /** `rows`: what a start returned that has committed; `nowUs`: the database's time at its statement. */
  seeStarted(rows: readonly Row[], nowUs: number): void {
    for (const { id, version, wake_at: wakeAt, payload } of rows) {
      const timer = String(id);
      if (Number(wakeAt) * 1000 > nowUs + 1)
        this.#tell(`${timer} was started ${Number(wakeAt) - nowUs / 1000} ms early`);
      if (this.#cancelled.has(timer)) this.#tell(`${timer} was started after its cancel was acknowledged`);
      const { edit } = JSON.parse(String(payload)) as { edit: number };
      const acknowledged = this.#edits.get(timer) ?? 0;
      if (edit < acknowledged)
        this.#tell(`${timer} was started as of edit ${edit} after edit ${acknowledged} was acknowledged`);
      this.seeVersion(timer, Number(version));
    }
  }

  seeCancelled(id: string): void {
    this.#cancelled.add(id);
  }

  seeEdited(id: string, edit: number, version: number): void {
    this.#edits.set(id, edit);
    this.seeVersion(id, version);
  }

  /** A version that a change made. */
  seeVersion(id: string, version: number): void {
    const before = this.#versions.get(id) ?? 1;
    if (version <= before) this.#tell(`the version of ${id} went from ${before} to ${version}`);
    this.#versions.set(id, version);
  }

  #tell(fault: string): void {
    this.faults.push(fault);
  }
}
