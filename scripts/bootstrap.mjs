// Runs Punctual from a bare checkout: `npm start`, `npm test`, `npm run stack`. Installs what is missing and hands over
// to the Node that came with it. Plain JavaScript without dependencies, because it runs on the machine's own Node,
// before anything is installed.
//
// usage: node scripts/bootstrap.mjs start|test|stack|migrate|reseal|ledger|bench|compare|loadtest|chaos|fuzz|histories|idempotency|monitoring|roll|
//        runbooks|punctual|audit|sbom [ARGUMENT...]
//
// Signals: npm forwards SIGINT and SIGTERM to this process (the scripts in package.json begin with `exec`, or a shell
// would die of the signal in its place), and Ctrl-C at a terminal reaches it a second time by way of the terminal. The
// program runs in a session of its own and hears from this process alone: SIGTERM once, however often and by whichever
// way we were told within a moment. A later Ctrl-C is a person's impatience and is passed on as SIGINT.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const NODE_MAJOR_MIN = 20;
const PNPM = 'pnpm@12.21.0';
const PROGRAMS = {
  start: 'services/standalone/main.ts',
  test: 'scripts/test.ts',
  stack: 'scripts/stack.ts',
  migrate: 'services/standalone/migrate.ts',
  reseal: 'services/standalone/reseal.ts',
  ledger: 'packages/database/ledger-command.ts',
  bench: 'loadtest/bench/run.ts',
  compare: 'loadtest/bench/compare.ts',
  loadtest: 'loadtest/k6/run.ts',
  chaos: 'tests/chaos/run.ts',
  fuzz: 'tests/fuzz/run.ts',
  histories: 'scripts/histories.ts',
  idempotency: 'tests/e2e/idempotency-command.ts',
  monitoring: 'tests/monitoring/run.ts',
  roll: 'tests/e2e/roll-command.ts',
  runbooks: 'tests/runbooks/run.ts',
};
/** Asks the api and ends: it keeps the terminal to itself, so that it can ask whoever sits there. */
const COMMAND = { punctual: 'services/command/main.ts' };
/** What the package manager does by itself: it has read every package, and asks the registry that they came from. */
const PNPM_COMMANDS = {
  // Known weaknesses of what is locked. What is accepted stands in pnpm-workspace.yaml, with the reason.
  audit: ['audit'],
  // A bill of materials of what runs in production (CycloneDX, JSON), to standard output unless `--out FILE` is given:
  // the command needs all services.
  sbom: 'sbom --sbom-format cyclonedx --sbom-type application --prod --filter @punctual/command'.split(' '),
};

/** A slow line and an empty cache: 200 MB in a quarter of an hour. */
const INSTALL_TIMEOUT_MS = 15 * 60_000;
const PROGRESS_INTERVAL_MS = 15_000;
const WAIT_INTERVAL_MS = 500;
/** Of a failed installation's output; more than any terminal keeps. */
const OUTPUT_BYTES_MAX = 1024 * 1024;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];
/** Signals closer together than this are one: npm and the terminal deliver the same Ctrl-C within milliseconds. */
const SAME_SIGNAL_MS = 700;
/** From our own death to SIGKILL: the drain (25 s) and a fast shutdown of the database (30 s) fit in. */
const STOP_SECONDS = '90';
const PARENT_CHECK_INTERVAL_MS = 500;

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const modules = path.join(root, 'node_modules');
const marker = path.join(modules, '.punctual-installed');
const lock = path.join(modules, '.punctual-installing');
const node = path.join(modules, '.bin', 'node');

await main(process.argv[2], process.argv.slice(3));

async function main(command, args) {
  if (Number.parseInt(process.versions.node, 10) < NODE_MAJOR_MIN) {
    fail(`Punctual needs Node ${NODE_MAJOR_MIN} or later to begin, and this is Node ${process.versions.node}.`);
  }
  if (process.platform === 'win32') fail('Punctual runs on Linux and macOS; on Windows, run it inside WSL.');
  const commands = [...Object.keys(PROGRAMS), ...Object.keys(COMMAND), ...Object.keys(PNPM_COMMANDS)];
  if (!commands.includes(command)) fail(`usage: node scripts/bootstrap.mjs ${commands.join('|')} [ARGUMENT...]`);
  if (!isInstalled()) await installOnce();
  if (command in COMMAND) {
    // Files that it is given are named from where the person is.
    const cwd = process.env.INIT_CWD ?? process.cwd();
    runInPlace([node, path.join(root, COMMAND[command]), ...args], { cwd, env: process.env });
  } else if (command in PNPM_COMMANDS) {
    const env = chooseInstallEnvironment();
    runInPlace(listPnpmCommand([...PNPM_COMMANDS[command], ...args]), { cwd: root, env });
  } else run(path.join(root, PROGRAMS[command]), args);
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

// ---- installation

function isInstalled() {
  try {
    return fs.readFileSync(marker, 'utf8') === computeFingerprint() && fs.existsSync(node);
  } catch {
    return false;
  }
}

/** Changes whenever another installation is needed. */
function computeFingerprint() {
  const hash = createHash('sha256').update(`${process.platform} ${process.arch} ${PNPM}`);
  const files = ['package.json', 'pnpm-lock.yaml', 'pnpm-workspace.yaml'];
  for (const folder of ['packages', 'services', 'loadtest', 'tests']) {
    const names = fs.existsSync(path.join(root, folder)) ? fs.readdirSync(path.join(root, folder)).sort() : [];
    files.push(...names.map((name) => path.join(folder, name, 'package.json')));
  }
  for (const file of files) {
    if (fs.existsSync(path.join(root, file))) hash.update(`\n${file}\n`).update(fs.readFileSync(path.join(root, file)));
  }
  return hash.digest('hex');
}

/** Two commands on a fresh checkout must not install side by side. */
async function installOnce() {
  try {
    fs.mkdirSync(modules, { recursive: true });
    fs.accessSync(modules, fs.constants.W_OK);
  } catch (error) {
    fail(`Packages cannot be installed in ${modules} (${error.code}): make the checkout writable for this user.`);
  }
  for (let tries = 1; !takeLock(); tries += 1) {
    // The first failure may only have cleared away the lock of a process that was killed.
    if (tries === 2) console.error('Another command is installing the packages here: waiting for it.');
    if (tries > 1) await new Promise((resolve) => setTimeout(resolve, WAIT_INTERVAL_MS));
  }
  try {
    if (!isInstalled()) await install();
  } finally {
    fs.rmSync(lock, { force: true });
  }
}

function takeLock() {
  try {
    fs.writeFileSync(lock, String(process.pid), { flag: 'wx' });
    return true;
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
  }
  try {
    process.kill(Number(fs.readFileSync(lock, 'utf8')) || 0, 0);
  } catch (error) {
    // Its process is gone: the next look finds the way free.
    if (error.code === 'ESRCH') fs.rmSync(lock, { force: true });
  }
  return false;
}

async function install() {
  const begin = Date.now();
  console.error('Installing packages: this takes a minute the first time.');
  const seconds = () => `${Math.round((Date.now() - begin) / 1000)} s`;
  const progress = setInterval(() => console.error(`Still installing packages (${seconds()}).`), PROGRESS_INTERVAL_MS);
  const { code, output } = await runQuietly(listInstallCommand(), chooseInstallEnvironment());
  clearInterval(progress);
  if (code !== 0) {
    fs.rmSync(lock, { force: true });
    process.stderr.write(output);
    fail(`The packages could not be installed (${code}). What the package manager said is printed above.`);
  }
  fs.writeFileSync(marker, computeFingerprint());
  console.error(`Installed packages in ${seconds()}.`);
}

/** The lock file says what is installed, and is never changed by it: packages other than those in it are a fault. */
function listInstallCommand() {
  // A node_modules made by another package manager is replaced without asking.
  return listPnpmCommand(['install', '--frozen-lockfile', '--config.confirmModulesPurge=false']);
}

/** npm tells its scripts where it is; without it, npx is looked for on the PATH. */
function listPnpmCommand(args) {
  const npm = process.env.npm_execpath;
  const isNpm = npm !== undefined && path.basename(npm) === 'npm-cli.js' && fs.existsSync(npm);
  const npx = isNpm ? [process.execPath, npm, 'exec', '--yes', '--'] : ['npx', '--yes'];
  return [...npx, PNPM, ...args];
}

/** Its terminal and its exit code are ours. */
function runInPlace([command, ...args], options) {
  const child = spawn(command, args, { ...options, stdio: 'inherit' });
  child.on('error', (error) => fail(`${command}: ${error.message}`));
  child.on('exit', (code, signal) => process.exit(signal === null ? code : 128 + os.constants.signals[signal]));
}

/** Caches go where they always go, or into the checkout when there is no home folder to write to. */
function chooseInstallEnvironment() {
  const environment = { ...process.env, CI: 'true', NO_COLOR: '1' };
  // `npm test -- ...` and the like must not reach the installation as settings of npm.
  delete environment.npm_config_loglevel;
  try {
    fs.accessSync(os.homedir(), fs.constants.W_OK);
  } catch {
    const cache = path.join(modules, '.cache');
    environment.npm_config_cache = path.join(cache, 'npm');
    environment.PNPM_HOME = path.join(cache, 'pnpm');
    for (const kind of ['CACHE', 'CONFIG', 'DATA', 'STATE']) {
      environment[`XDG_${kind}_HOME`] = path.join(cache, kind.toLowerCase());
    }
  }
  return environment;
}

/** Resolves when the command has ended. We end, too, when we are told to while it runs. */
function runQuietly([command, ...args], env) {
  return new Promise((resolve) => {
    // A group of its own, so that a signal reaches the package manager behind the shells that npm puts before it.
    const child = spawn(command, args, { cwd: root, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    const stop = (signal) => {
      if (child.pid !== undefined) kill(-child.pid, 'SIGTERM');
      child.on('close', () => {
        fs.rmSync(lock, { force: true });
        process.exit(128 + os.constants.signals[signal]);
      });
    };
    for (const signal of SIGNALS) process.once(signal, stop);
    const deadline = setTimeout(() => kill(-child.pid, 'SIGTERM'), INSTALL_TIMEOUT_MS);
    let output = '';
    const keep = (chunk) => {
      output = (output + chunk).slice(-OUTPUT_BYTES_MAX);
    };
    const finish = (result) => {
      clearTimeout(deadline);
      for (const signal of SIGNALS) process.off(signal, stop);
      resolve(result);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', (error) => finish({ code: error.code, output: `${command}: ${error.message}\n` }));
    child.on('close', (code, signal) => finish({ code: code ?? signal, output }));
  });
}

// ---- hand-over

/** Runs the program under the same guard as the local servers: it is stopped when this process is killed, -9 included. */
function run(program, args) {
  const guardScript = path.join(root, 'packages', 'local-servers', 'guard.sh');
  const guard = spawn('/bin/sh', [guardScript, 'TERM', STOP_SECONDS, 'KILL', '', node, program, ...args], {
    detached: true,
    env: {
      // Each of our processes would strip and compile the same thousand files anew.
      NODE_COMPILE_CACHE: path.join(modules, '.cache', 'compiled'),
      ...process.env,
      PATH: `${path.join(modules, '.bin')}${path.delimiter}${process.env.PATH ?? ''}`,
    },
    stdio: ['pipe', 'inherit', 'inherit', 'pipe'],
  });
  guard.stdin.on('error', () => {});
  let pid;
  guard.stdio[3].on('data', (line) => {
    pid = Number.parseInt(String(line), 10);
  });
  const drain = (signal) => {
    // Before the program's pid is known, the closed pipe tells the guard to stop it.
    if (pid === undefined) guard.stdin.destroy();
    else kill(pid, signal);
  };

  let requests = 0;
  let lastRequestAt = Number.NEGATIVE_INFINITY;
  const onSignal = () => {
    const now = performance.now();
    const isRepeat = now - lastRequestAt < SAME_SIGNAL_MS;
    lastRequestAt = now;
    if (isRepeat) return;
    requests += 1;
    drain(['SIGTERM', 'SIGINT'][requests - 1] ?? 'SIGKILL');
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);

  // npm that is killed with -9 can forward nothing: its end is seen by our parent becoming another.
  const parent = process.ppid;
  if (process.env.npm_lifecycle_event !== undefined) {
    const watch = setInterval(() => {
      if (process.ppid === parent) return;
      clearInterval(watch);
      if (requests === 0) onSignal();
    }, PARENT_CHECK_INTERVAL_MS);
  }

  guard.on('error', (error) => fail(`${program} could not be started: ${error.message}`));
  guard.on('exit', (code, signal) => {
    // A guard that was killed leaves the program to us.
    if (signal !== null && pid !== undefined) kill(pid, 'SIGTERM');
    process.exit(signal === null ? code : 128 + os.constants.signals[signal]);
  });
}

function kill(pid, signal) {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended in the meantime, and its exit is on its way to us.
  }
}
