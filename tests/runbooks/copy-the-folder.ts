import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Installation } from './installation.ts';
import type { Operator } from './operator.ts';
import { RunbookPage } from './page.ts';

/** In which the standalone stops before timers are due (ms). */
const SOON_MS = 5_000;

/** Carries out docs/runbooks/back-up-the-data-folder.md. */
export async function copyTheFolder(operator: Operator): Promise<void> {
  const page = new RunbookPage('docs/runbooks/back-up-the-data-folder.md');
  const folder = mkdtempSync(join(tmpdir(), 'punctual-runbook-'));
  const dataFolder = join(folder, '.punctual');
  const installation = await Installation.create();
  try {
    await installation.startStandalone(dataFolder);
    const { delivered, sleeping } = await installation.begin();
    const again = await installation.createTimers('again', SOON_MS);
    await installation.stop();
    operator.note('20 timers are delivered, 20 sleep, 20 will soon be due; the standalone is stopped');
    await operator.runHere(page.take(/^cp -a/), {}, folder);
    await installation.startStandalone(dataFolder);
    await installation.waitForDeliveries('again');
    const sent = installation.listDelivered('again');
    const lost = await installation.createTimers('lost');
    operator.note('it runs again; those are delivered, and 20 more are created; it is stopped');
    await installation.stop();
    await operator.runHere(page.take(/^mv/), {}, folder);
    await installation.startStandalone(dataFolder);
    await installation.checkWayBack({ delivered, sleeping, again, sent, lost });
    operator.note(
      'it runs on the copy: what was delivered since is delivered again, under the same webhook-ids; the first 20 are not; what slept sleeps; the last 20 are not found; the ledger balances',
    );
    page.end();
  } finally {
    await installation.close();
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}
