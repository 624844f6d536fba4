import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Stands in for curl on machines that have none, for as much of it as our own commands use; anything else it refuses. */
const STAND_IN = `#!${process.execPath}
const words = process.argv.slice(2);
const headers = {};
let [body, url] = [undefined, undefined];
while (words.length > 0) {
  const word = words.shift();
  if (word === '-s') continue;
  else if (word === '-H') { const [name, ...value] = words.shift().split(':'); headers[name] = value.join(':').trim(); }
  else if (word === '-d') body = words.shift();
  else if (!word.startsWith('-') && url === undefined) url = word;
  else { console.error('curl: ' + word + ' is not known here'); process.exit(2); }
}
const answer = await fetch(url, { method: body === undefined ? 'GET' : 'POST', headers, body });
process.stdout.write(await answer.text());
`;

/** Gives a curl command to a shell, as a person who pastes it does, and returns what it prints. */
export function runCurl(command: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'punctual-curl-'));
  try {
    const standIn = join(folder, 'curl');
    writeFileSync(standIn, STAND_IN);
    chmodSync(standIn, 0o755);
    // Last in the path: a curl that is there is used.
    const env = { ...process.env, PATH: `${process.env.PATH}:${folder}` };
    const { status, stdout, stderr } = spawnSync('sh', ['-c', command], { env, encoding: 'utf8' });
    if (status !== 0) throw new Error(`the command ended with ${status}: ${stderr}`);
    return stdout;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
