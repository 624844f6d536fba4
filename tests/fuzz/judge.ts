import { type AnswerChecker, type ApiDocument, createOperationFinder } from '@punctual/testkit';
import { type Actor, type FuzzCase, isSoundHttp, NOBODIES, TENANT_ACTORS } from './cases/case.ts';
import type { Exchange } from './exchange.ts';

/** What an answer to a request without a key that lets it in may be: the door itself, or what is looked at before it. */
const BEFORE_THE_DOOR: readonly number[] = [400, 404, 405, 408, 414, 417, 431];
/** What something that is not HTTP may be answered. */
const NOT_HTTP: readonly number[] = [...BEFORE_THE_DOOR, 401, 403, 411, 413, 415, 501, 505];
/** What each scope includes. */
const RANKS: Readonly<Record<string, number>> = { read: 0, write: 1, admin: 2, operator: 3 };
const RANK_OF: Readonly<Record<string, number>> = { reader: 0, writer: 1, admin: 2, operator: 3 };

export interface JudgeOptions {
  document: ApiDocument;
  checker: AnswerChecker;
  /** Texts that nobody but the tenant whose they are may see: payloads, names, keys, ids. */
  secrets: readonly string[];
  /** Of these, those that an operator may see: ids, and the names of tenants and keys. */
  operatorMaySee: ReadonlySet<string>;
}

export interface Judge {
  /** What is wrong with an answer to a request, whose ids are in place; empty when nothing is. */
  findFaults(request: FuzzCase, exchange: Exchange): string[];
}

const isNobody = (actor: Actor): boolean => (NOBODIES as readonly Actor[]).includes(actor);

/** Holds each answer against what must be true of all: no 5xx, as described, the door kept, nothing of others in it. */
export function createJudge({ document, checker, secrets, operatorMaySee }: JudgeOptions): Judge {
  const find = createOperationFinder(document);
  const findLeak = (request: FuzzCase, text: string): string[] => {
    const sent = JSON.stringify(request);
    const isAllowed = (secret: string) =>
      sent.includes(secret) || (request.actor === 'operator' && operatorMaySee.has(secret));
    return secrets
      .filter((secret) => text.includes(secret) && !isAllowed(secret))
      .map((secret) => `it shows what is not the sender's: ${secret}`);
  };
  return {
    findFaults(request, exchange) {
      if (exchange.kind === 'silence') return ['there was no answer in time'];
      if (exchange.kind === 'closed') {
        const leaks = findLeak(request, exchange.received);
        return isSoundHttp(request) ? [...leaks, `the connection was closed: ${exchange.received}`] : leaks;
      }
      const { status, headers, body } = exchange;
      const leaks = findLeak(request, `${JSON.stringify(headers)} ${body}`);
      if (status >= 500) return [...leaks, `it was answered ${status}: ${body.slice(0, 300)}`];
      if (!isSoundHttp(request)) {
        // A server may make sense of some of it; then it is a request like any other, and the door must hold.
        return NOT_HTTP.includes(status) || !isNobody(request.actor) ? leaks : [...leaks, `it was answered ${status}`];
      }
      const { method, target: path } = request;
      return [
        ...leaks,
        ...findDoorFault(request, status, find(method, normalizeTarget(path))?.operation.security[0]?.apiKey?.[0]),
        ...checkDescription(checker, { method, path: normalizeTarget(path), status, headers, body }),
      ];
    },
  };
}

/** A target may name the host, too (RFC 9112 §3.2.2). */
function normalizeTarget(target: string): string {
  return target.replace(/^http:\/\/[^/]+/, '');
}

/** `scope`: what the operation needs; undefined when there is none, or when it is open to all. */
function findDoorFault({ actor }: FuzzCase, status: number, scope: string | undefined): string[] {
  if (scope === undefined) return [];
  const isKnown = (TENANT_ACTORS as readonly Actor[]).includes(actor) || actor === 'operator';
  const allowed = [...BEFORE_THE_DOOR.filter((each) => each !== 404 && each !== 405), isKnown ? 403 : 401];
  if (isKnown && RANK_OF[actor]! >= RANKS[scope]!) return status === 401 ? ['a good key was refused'] : [];
  return allowed.includes(status) ? [] : [`${actor} was answered ${status} where the scope ${scope} is needed`];
}

function checkDescription(checker: AnswerChecker, answer: Parameters<AnswerChecker['findFaults']>[0]): string[] {
  // What Node answers before there is a request has no id, and the document says of it what it may be.
  const isBeforeTheRequest =
    answer.headers['x-request-id'] === undefined && [400, 408, 417, 431].includes(answer.status);
  return isBeforeTheRequest ? [] : checker.findFaults(answer);
}
