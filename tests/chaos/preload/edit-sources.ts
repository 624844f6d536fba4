// Loaded into a service by `--import`, before the service itself: edits the text of our own modules as they are loaded, by
// what CHAOS_TWEAKS says. So failpoints are comments in the code of production, and a broken build needs no build.
import { registerHooks } from 'node:module';
import { applyEdits } from './apply-edits.ts';
import { crashAt } from './crash-at.ts';
import { shiftClock } from './shift-clock.ts';
import type { Tweaks } from './tweaks.ts';

const tweaks: Tweaks = JSON.parse(process.env.CHAOS_TWEAKS ?? '{}');
const FAILPOINT = /\/\/ failpoint: ([\w.-]+)/g;

if (tweaks.clockOffsetMs !== undefined) shiftClock(tweaks.clockOffsetMs);
if (tweaks.failpoint !== undefined) Object.assign(globalThis, { failpoint: crashAt(tweaks.failpoint) });

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    if (!url.startsWith('file:') || url.includes('/node_modules/') || !url.endsWith('.ts')) return loaded;
    const before = String(loaded.source);
    let source = before;
    if (tweaks.failpoint !== undefined) source = source.replace(FAILPOINT, "globalThis.failpoint('$1');");
    source = applyEdits(url, source, tweaks.edits ?? []);
    return source === before ? loaded : { ...loaded, source };
  },
});
