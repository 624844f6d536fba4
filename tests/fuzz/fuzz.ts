import type { Database } from '@punctual/database';
import { DEFAULT_TENANT_ID } from '@punctual/domain';
import { type ApiDocument, createAnswerChecker } from '@punctual/testkit';
import fc from 'fast-check';
import type { FuzzedApi } from './api.ts';
import { type Actor, type FuzzCase, NOBODIES } from './cases/case.ts';
import { createCaseMaker } from './cases/requests.ts';
import { Connection, type Exchange } from './exchange.ts';
import { createJudge } from './judge.ts';
import { compareStates, readState, type StateScope } from './state.ts';
import { openWorld } from './world.ts';

/** Requests under way at once: as many as may meet in one insert, without making the run a test of load. */
const AT_ONCE = 8;
/** Groups of requests between two looks at the database. */
const GROUPS_PER_ROUND = 60;
/** After so many failures there is enough to do. */
const FAILURES_MAX = 5;
/** How often a request that is answered 503 is sent again: it must be true only for a moment. */
const OVERLOAD_REPEATS_MAX = 5;
/** Between the seeds of rounds, so that those of neighbouring runs do not meet. */
const SEED_STEP = 1_000_003;

/** A round's actors, and what none of their requests may change. */
interface RoundKind {
  name: string;
  actors: readonly Actor[];
  scope: StateScope;
}

export interface FuzzOptions {
  api: FuzzedApi;
  database: Database;
  cases: number;
  seed: number;
  /** The first round; what came before it is left out. For looking at one round again. */
  fromRound?: number;
  onProgress?: (progress: FuzzResult) => void;
}

export interface FuzzResult {
  cases: number;
  rounds: number;
  /** Answers by actor and status class. */
  counts: Record<string, Record<string, number>>;
  failures: string[];
  /** Statuses of the document that no request got. */
  unseen: string[];
}

/** Sends requests in rounds, holds each answer and the database after each round against what must be true. */
export async function fuzz(options: FuzzOptions): Promise<FuzzResult> {
  const { api, database, cases, seed, fromRound = 0 } = options;
  const { url, port } = api.service;
  const world = await openWorld({ url, operatorKey: api.operatorKey, database });
  const document = (await (await fetch(`${url}/v1/openapi.json`)).json()) as ApiDocument;
  const checker = createAnswerChecker(document);
  const judge = createJudge({ document, checker, secrets: world.secrets, operatorMaySee: world.operatorMaySee });
  const makeCases = createCaseMaker(document);
  const connections = Array.from({ length: AT_ONCE }, () => new Connection(port));
  const result: FuzzResult = { cases: 0, rounds: fromRound, counts: {}, failures: [], unseen: [] };

  const perform = async (connection: Connection, drawn: FuzzCase): Promise<string[]> => {
    const { request, authorization } = world.resolve(drawn);
    let exchange = await connection.exchange(request, authorization);
    for (let repeats = 0; isOverload(exchange) && repeats < OVERLOAD_REPEATS_MAX; repeats += 1) {
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      exchange = await connection.exchange(request, authorization);
    }
    result.cases += 1;
    world.learn(request, exchange);
    count(result, drawn.actor, exchange);
    return judge.findFaults(request, exchange);
  };
  const runRound = async (kind: RoundKind, roundSeed: number): Promise<string[]> => {
    const before = await readState(database, kind.scope);
    const group = fc.array(makeCases(kind.actors), { minLength: 1, maxLength: AT_ONCE, size: 'max' });
    const property = fc.asyncProperty(group, async (drawn) => {
      const faults = await Promise.all(drawn.map((each, index) => perform(connections[index]!, each)));
      const wrong = faults.flatMap((each, index) => each.map((fault) => `${fault}\n  by ${show(drawn[index]!)}`));
      if (wrong.length > 0) throw new Error(wrong.join('\n'));
    });
    const found = await fc.check(property, { seed: roundSeed, numRuns: GROUPS_PER_ROUND });
    const changed = compareStates(before, await readState(database, kind.scope));
    return [
      ...(found.failed ? [found.errorInstance instanceof Error ? found.errorInstance.message : 'it failed'] : []),
      ...changed.map((each) => `what ${kind.name} may not change was changed: ${each}`),
    ];
  };

  const kinds = listRoundKinds(world.own.id);
  try {
    while (result.cases < cases && result.failures.length < FAILURES_MAX) {
      const kind = kinds[result.rounds % kinds.length]!;
      const faults = await runRound(kind, seed + result.rounds * SEED_STEP);
      const where = `round ${result.rounds} (${kind.name}) of seed ${seed}`;
      result.failures.push(...faults.map((fault) => `${where}: ${fault}`));
      result.rounds += 1;
      options.onProgress?.(result);
    }
  } finally {
    for (const connection of connections) connection.close();
  }
  result.failures.push(...(await checkEnd(api)));
  result.unseen = listUnseen(document, checker.seen);
  return result;
}

/** Strangers and readers change nothing at all; a tenant nothing of others'; an operator only who may come in. */
function listRoundKinds(ownTenantId: string): RoundKind[] {
  const tenant: RoundKind = { name: 'a tenant', actors: ['writer', 'admin'], scope: { exceptTenantId: ownTenantId } };
  return [
    { name: 'strangers', actors: NOBODIES, scope: {} },
    tenant,
    { name: 'readers', actors: ['reader'], scope: {} },
    tenant,
    {
      name: 'an operator',
      actors: ['operator'],
      scope: {
        exceptTenantId: DEFAULT_TENANT_ID,
        exceptTables: ['tenants', 'api_keys', 'signing_secrets', 'audit_log'],
      },
    },
  ];
}

function isOverload(exchange: Exchange): boolean {
  return exchange.kind === 'answer' && exchange.status === 503 && exchange.headers['retry-after'] !== undefined;
}

function count({ counts }: FuzzResult, actor: Actor, exchange: Exchange): void {
  const name = actor.split(' ', 1)[0]!;
  const row = counts[name] ?? {};
  counts[name] = row;
  const column = exchange.kind === 'answer' ? `${Math.floor(exchange.status / 100)}xx` : 'none';
  row[column] = (row[column] ?? 0) + 1;
}

function show(drawn: FuzzCase): string {
  const text = JSON.stringify(drawn);
  return text.length > 2_000 ? `${text.slice(0, 2_000)}… (${text.length} characters)` : text;
}

/** Whether the api is as well as before, and the ledger balanced. */
async function checkEnd({ service, operatorKey, listDefects }: FuzzedApi): Promise<string[]> {
  const faults = listDefects().map((line) => `a defect was logged: ${line}`);
  const headers = { authorization: `Bearer ${operatorKey}` };
  try {
    const health = await fetch(`${service.url}/v1/health`);
    if (health.status !== 200) faults.push(`its health is ${health.status} at the end: ${await health.text()}`);
    const ledger = await fetch(`${service.url}/v1/ledger`, { headers });
    const report = (await ledger.json()) as { isBalanced?: boolean };
    if (report.isBalanced !== true)
      faults.push(`the ledger is not balanced: ${JSON.stringify(report).slice(0, 1_000)}`);
  } catch (error) {
    faults.push(`it is gone at the end: ${String(error)}`);
  }
  return faults;
}

function listUnseen(document: ApiDocument, seen: ReadonlySet<string>): string[] {
  return Object.entries(document.paths)
    .flatMap(([path, methods]) =>
      Object.entries(methods).flatMap(([method, { responses }]) =>
        Object.keys(responses).map((status) => `${method.toUpperCase()} ${path} ${status}`),
      ),
    )
    .filter((name) => !seen.has(name) && !/ 50[03]$/.test(name));
}
