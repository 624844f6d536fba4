import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ApiServer } from '../api-server.ts';
import { ProblemError } from '../problem.ts';
import { sendProblem } from './problems.ts';

/**
 * Answers what no route takes: 405 with `Allow` where another method would do (RFC 9110 §15.5.6), else 404. A path that a
 * route names literally is that route's alone, as OpenAPI has it: `GET /v1/timers/batch` reads no timer called "batch".
 */
export function addUnknownRoutes(app: ApiServer): void {
  const literal = new Map<string, Set<string>>();
  const patterns: { steps: string[]; method: string }[] = [];

  const findMethods = (path: string): Iterable<string> => {
    const own = literal.get(path);
    if (own) return own;
    const steps = path.split('/');
    return patterns.filter((pattern) => matches(pattern.steps, steps)).map(({ method }) => method);
  };
  const answer = (request: FastifyRequest, reply: FastifyReply) => {
    const methods = [...new Set(findMethods(readPath(request)))].sort();
    const problem =
      methods.length === 0
        ? new ProblemError(404, 'not_found', 'There is no such route.')
        : new ProblemError(405, 'method_not_allowed', 'This path takes other methods.', {
            headers: { allow: methods.join(', ') },
          });
    return sendProblem(reply, request, problem);
  };

  app.addHook('onRoute', (route) => {
    const path = trimSlash(route.url);
    for (const method of [route.method].flat()) {
      if (!path.includes(':')) literal.set(path, (literal.get(path) ?? new Set()).add(method));
      else patterns.push({ steps: path.split('/'), method });
    }
  });
  // Before keys and bodies are looked at: what nobody takes needs neither.
  app.addHook('onRequest', (request, reply, done) => {
    const own = literal.get(readPath(request));
    if (request.is404 || (own && !own.has(request.method))) answer(request, reply);
    else done();
  });
  app.setNotFoundHandler(answer);
}

function readPath({ url }: FastifyRequest): string {
  return trimSlash(url.split('?', 1)[0]!);
}

/** The router takes a path with a slash at its end for the same. */
function trimSlash(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

function matches(pattern: readonly string[], steps: readonly string[]): boolean {
  return (
    pattern.length === steps.length &&
    pattern.every((step, index) => (step.startsWith(':') ? steps[index] !== '' : step === steps[index]))
  );
}
