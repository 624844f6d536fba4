import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import {
  findFreePort,
  type RunningStack,
  startGuardedProcess,
  startStack,
} from '../../packages/local-servers/index.ts';
import { startReceiver, waitUntil } from '../../packages/testkit/index.ts';
import { ROOT } from '../docs/markdown-files.ts';
import { listExpressions, readYaml } from './files.ts';
import { parsePromql } from './promql.ts';

/** Scrapes and evaluations a second apart, so that minutes of an installation's life fit into one of ours. */
const INTERVAL = '1s';
const TIMERS = 200;
const WAIT_LIMIT_MS = 120_000;
const STOP_TIMEOUT_MS = 10_000;
/** What nobody shows here: the host has no node exporter, and these counters begin with the first refusal, signal or removal. */
const NOT_SHOWN =
  /^(node_filesystem_|api_requests_limited_total|api_signals_total|worker_bulk_targets_total|scheduler_retention_removed_total)/;

interface Answer {
  status: string;
  error?: string;
  data: { result: unknown[] };
}

/**
 * Has a real Prometheus scrape real services, with the rules as they are, and asks it every expression of rules and dashboards.
 * Then the worker is stopped, and the alerts about that must fire. Returns what was seen, a sentence each; `isWell` when all of
 * it was as it should be.
 */
export async function tryRealPrometheus(prometheus: string): Promise<{ results: string[]; isWell: boolean }> {
  const folder = mkdtempSync(join(tmpdir(), 'punctual-prometheus-'));
  const receiver = await startReceiver();
  const stack = await startStack({
    api: 2,
    scheduler: 2,
    ephemeral: true,
    envOf: { scheduler: { SCHEDULER_FIGURES_INTERVAL_MS: '1000' } },
    log: console.log,
  });
  try {
    const port = await findFreePort();
    const server = await startGuardedProcess({
      command: prometheus,
      args: [
        `--config.file=${writeConfig(folder, stack)}`,
        `--storage.tsdb.path=${join(folder, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
      ],
      env: { PATH: process.env.PATH },
      cwd: folder,
      stopSignal: 'SIGTERM',
      hardSignal: 'SIGKILL',
      stopTimeoutMs: STOP_TIMEOUT_MS,
      output: { file: join(folder, 'prometheus.txt') },
    });
    try {
      return await lookAt(`http://127.0.0.1:${port}`, stack, receiver.url);
    } finally {
      await server.stop();
    }
  } finally {
    await stack.stop();
    await receiver.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The configuration as it is, but for the addresses, which are found by DNS where containers run. */
function writeConfig(folder: string, stack: RunningStack): string {
  cpSync(join(ROOT, 'monitoring/prometheus/rules'), join(folder, 'rules'), { recursive: true });
  const config = readYaml<{ scrape_configs: { job_name: string }[]; [part: string]: unknown }>(
    'prometheus/prometheus.yml',
  );
  const jobs = config.scrape_configs.map(({ job_name }) => ({
    job_name,
    static_configs: [
      {
        targets: stack.processes
          .filter(({ name }) => job_name.endsWith(name.split('-')[0]!))
          .map(({ port }) => `127.0.0.1:${port}`),
      },
    ],
  }));
  const path = join(folder, 'prometheus.yml');
  const global = { ...(config.global as object), scrape_interval: INTERVAL, evaluation_interval: INTERVAL };
  writeFileSync(path, stringify({ ...config, global, alerting: undefined, scrape_configs: jobs }));
  return path;
}

async function lookAt(url: string, stack: RunningStack, endpoint: string) {
  const results: string[] = [];
  let isWell = true;
  const tell = (isGood: boolean, sentence: string) => {
    isWell &&= isGood;
    results.push(isGood ? sentence : `WRONG: ${sentence}`);
    console.log(results.at(-1));
  };
  const ask = async (expr: string): Promise<Answer> => {
    const response = await fetch(`${url}/api/v1/query?query=${encodeURIComponent(expr)}`);
    return (await response.json()) as Answer;
  };
  const count = async (expr: string) => (await ask(expr)).data?.result.length ?? 0;
  const isUp = async () => (await count('up{job=~"punctual-.*"} == 1').catch(() => 0)) === stack.processes.length;
  await waitUntil('every process is scraped', isUp, WAIT_LIMIT_MS);
  tell(true, `${stack.processes.length} processes are scraped`);

  for (let made = 0; made < TIMERS; made += 1) {
    const body = JSON.stringify({ action: { type: 'http', url: endpoint } });
    const headers = { 'content-type': 'application/json' };
    await fetch(`${stack.apiUrls[made % 2]}/v1/timers`, { method: 'POST', headers, body });
  }
  const isCounted = async () => (await count('punctual:timer_lateness_seconds:p95_5m > 0')) === 1;
  await waitUntil('their lateness is recorded', isCounted, WAIT_LIMIT_MS);
  // They come by way of the ledger, which is folded every five seconds.
  await waitUntil(
    'the totals of tenants are read',
    async () => (await count('scheduler_tenant_timers')) > 0,
    WAIT_LIMIT_MS,
  );

  const expressions = listExpressions().map(({ where, expr }) => ({
    where,
    expr: expr.replaceAll('$__rate_interval', '1m').replaceAll('$tenant', '.*'),
  }));
  const refused: string[] = [];
  const unseen = new Set<string>();
  for (const { where, expr } of expressions) {
    const { status, error } = await ask(expr);
    if (status !== 'success') refused.push(`${where}: ${error}`);
    for (const { metric } of parsePromql(expr).selectors) {
      if (!metric.includes(':') && !NOT_SHOWN.test(metric) && (await count(metric)) === 0) unseen.add(metric);
    }
  }
  tell(refused.length === 0, `${expressions.length} expressions are answered${list(refused)}`);
  tell(unseen.size === 0, `every metric that they name has samples${list([...unseen])}`);

  const { data } = (await (await fetch(`${url}/api/v1/rules`)).json()) as {
    data: { groups: { rules: { name: string; health: string; lastError?: string }[] }[] };
  };
  const rules = data.groups.flatMap((group) => group.rules);
  const ill = rules.filter(({ health }) => health !== 'ok').map(({ name, lastError }) => `${name}: ${lastError}`);
  tell(ill.length === 0, `${rules.length} rules are evaluated without an error${list(ill)}`);
  const firing = async () => {
    const { data } = (await ask('ALERTS{alertstate="firing"}')) as unknown as {
      data: { result: { metric: { alertname: string } }[] };
    };
    return data.result.map(({ metric }) => metric.alertname);
  };
  const early = await firing();
  tell(early.length === 0, `no alert fires${list(early)}`);

  await stack.processes.find(({ name }) => name.startsWith('worker'))!.stop();
  const expected = ['PunctualNoWorker', 'PunctualServiceDown'];
  const isTold = async () => {
    const names = await firing();
    return expected.every((name) => names.includes(name));
  };
  // The longer of both waits for two minutes.
  const stoppedAt = performance.now();
  await waitUntil('the alerts about the worker fire', isTold, 2 * WAIT_LIMIT_MS).catch(() => {});
  const seconds = Math.round((performance.now() - stoppedAt) / 1_000);
  tell(await isTold(), `the worker is stopped: ${expected.join(' and ')} fire after ${seconds} s`);
  return { results, isWell };
}

function list(faults: readonly string[]): string {
  return faults.length === 0 ? '' : `, but: ${faults.join('; ')}`;
}
