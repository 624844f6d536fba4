import { cancelTimer, changeTimer, createTimer, type KnownTimer, readTimer } from './timers.ts';

/** Of each hundred iterations, so many; the rest are reads. */
const CREATES = 40;
const CHANGES = 20;
const CANCELS = 20;
/** A VU remembers its timers so long after they were due (ms): "too late" comes up, but is not the usual answer. */
const FORGET_AFTER_MS = 1_000;

/** Of this VU alone: nobody else touches them, so that it knows what each answer must be. */
let known: KnownTimer[] = [];

/** One iteration: a create, or a change, cancel or read of a timer that this VU has made. */
export function doOneOfTheMix(): void {
  const draw = Math.random() * 100;
  const timer = pickKnown();
  if (timer === undefined || draw < CREATES) {
    const made = createTimer();
    if (made !== undefined) known.push(made);
  } else if (draw < CREATES + CHANGES) {
    changeTimer(timer);
  } else if (draw < CREATES + CHANGES + CANCELS) {
    cancelTimer(timer);
  } else {
    readTimer(timer);
  }
}

/** Half of the time the one that is due next, because that is where a change or a cancel races with the start. */
function pickKnown(): KnownTimer | undefined {
  const now = Date.now();
  known = known.filter(({ dueAt }) => dueAt + FORGET_AFTER_MS > now);
  if (Math.random() < 0.5) {
    let next: KnownTimer | undefined;
    for (const timer of known) {
      if (timer.dueAt >= now && !timer.isCancelled && (next === undefined || timer.dueAt < next.dueAt)) next = timer;
    }
    if (next !== undefined) return next;
  }
  return known[Math.floor(Math.random() * known.length)];
}
