// The health check of the container image: ends with 0 when the service of this container is ready, else with 1.
// Plain JavaScript, because it is started every half minute and types cost a third of its time.
// usage: node scripts/image/health.mjs        (settings as the service's own: PORT, HOST)
import { get } from 'node:http';

/** Of api, scheduler and worker, unless PORT is set. A container runs one of them, so one answers at most. */
const PORTS = [8088, 8089, 8090];
/** Below the time-out of the image's health check. */
const TIMEOUT_MS = 4_000;
const EVERYWHERE = ['', '0.0.0.0', '::'];

const { PORT = '', HOST = '' } = process.env;
const ports = PORT === '' ? PORTS : [Number(PORT)];
const host = EVERYWHERE.includes(HOST) ? '127.0.0.1' : HOST;
const isReady = (await Promise.all(ports.map(ask))).includes(200);
process.exit(isReady ? 0 : 1);

/** The status of an answer; 0 when there is none. */
function ask(port) {
  return new Promise((resolve) => {
    const request = get({ host, port, path: '/v1/health/ready', timeout: TIMEOUT_MS }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(0));
  });
}
