import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from './compose-file.ts';

const ENTRY = join(ROOT, 'scripts/image/main.ts');

function startEntry(args: readonly string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [ENTRY, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  }
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal, said }));
  return { child, ended };
}

test.each([[[]], [['constructor']], [['worker.ts']]])('a command that there is not is refused: %j', async (args) => {
  const { code, said } = await startEntry(args).ended;
  expect(code).toBe(2);
  for (const name of ['api', 'scheduler', 'worker', 'migrate']) expect(said).toMatch(new RegExp(`^  ${name} `, 'm'));
});

test('a command gets the arguments behind its name', async () => {
  const { code, said } = await startEntry(['migrate', '--help']).ended;
  expect([code, said]).toEqual([0, expect.stringContaining('Applies the migrations')]);
});

test('SIGTERM ends a program that has no handler of its own, although the first process of a container must have one', async () => {
  // A Postgres that never answers.
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const { child, ended } = startEntry(['migrate'], { DATABASE_URL: `postgres://a:b@127.0.0.1:${port}/c` });
  const [socket] = await once(server, 'connection');
  child.kill('SIGTERM');
  // By its own exit, and not by the signal: there the kernel would have held that back.
  expect(await ended).toMatchObject({ code: 143, signal: null });
  socket.destroy();
  server.close();
});

test('the health check asks the service at its PORT and HOST whether it is ready', async () => {
  let status = 200;
  const asked: string[] = [];
  const server = createHttpServer((request, response) => {
    asked.push(request.url ?? '');
    response.writeHead(status).end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const check = async (HOST: string) => {
    const child = spawn(process.execPath, [join(ROOT, 'scripts/image/health.mjs')], {
      env: { PORT: String(port), HOST },
    });
    return (await once(child, 'close'))[0] as number;
  };
  expect(await check('127.0.0.1')).toBe(0);
  // What a service listens at, and nobody can ask.
  expect(await check('0.0.0.0')).toBe(0);
  status = 503;
  expect(await check('')).toBe(1);
  server.close();
  expect(await check('')).toBe(1);
  expect(new Set(asked)).toEqual(new Set(['/v1/health/ready']));
});
