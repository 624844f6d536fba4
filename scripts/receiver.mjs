// A third party's endpoint, for trials: answers every request with 200 and prints it, with how late it came.
// usage: node scripts/receiver.mjs [port [host]]        (9090 of 127.0.0.1 when absent)
import { createServer } from 'node:http';

const PORT_DEFAULT = 9090;
const BODY_SHOWN_MAX = 300;

const port = Number(process.argv[2] ?? PORT_DEFAULT);
const host = process.argv[3] ?? '127.0.0.1';
if (!Number.isInteger(port) || port < 1 || port > 65_535) {
  console.error(`"${process.argv[2]}" is no port. usage: node scripts/receiver.mjs [port [host]]`);
  process.exit(1);
}

const server = createServer((request, response) => {
  const receivedAt = Date.now();
  let body = '';
  request.setEncoding('utf8');
  request.on('data', (text) => {
    if (body.length < BODY_SHOWN_MAX) body += text;
  });
  request.on('end', () => {
    response.end('thank you\n');
    const dueAt = request.headers['punctual-due-at'];
    const lateness = dueAt === undefined ? '' : `, ${receivedAt - Date.parse(dueAt)} ms after it was due`;
    console.log(
      `${new Date(receivedAt).toISOString()}  ${request.method} ${request.url}  attempt ${request.headers['punctual-attempt']}${lateness}`,
    );
    console.log(`  ${body.slice(0, BODY_SHOWN_MAX)}`);
  });
});
server.on('error', (error) => {
  console.error(
    error.code === 'EADDRINUSE'
      ? `Port ${port} is in use. Choose another: node scripts/receiver.mjs ${port + 1}`
      : error.message,
  );
  process.exit(1);
});
server.listen(port, host, () => console.log(`Listening on http://${host}:${port}/ (Ctrl-C ends it)`));
// The first process of a container gets no signal that it does not handle.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(0));
