import { HEADER, OTHER_HEADER, PAYLOAD, SIGNING_SECRET } from './secrets.ts';

/** Retries that a test can afford. */
export const RETRY = { maxRetries: 1, backoff: { initialMs: 10, maxMs: 20 } };

/** An action with canaries in its headers and its body. */
export const makeAction = (url: string) => ({
  type: 'http',
  url,
  headers: { authorization: HEADER, 'X-Api-Key': OTHER_HEADER },
  body: { [PAYLOAD]: PAYLOAD },
});

export const makeTimer = (url: string, fields: object = {}) => ({
  action: makeAction(url),
  payload: { canary: PAYLOAD },
  labels: { canary: 'label' },
  retry: RETRY,
  ...fields,
});

export interface CanaryRequest {
  method: string;
  path: string;
  body?: unknown;
  key?: string;
  /** A body that is no JSON, in place of `body`. */
  text?: string;
}

/** Requests with canaries in places where they are refused, of whoever has `key`. */
export function listWrongRequests(
  receiverUrl: string,
  { key, tenantId, timerId }: { key: string; tenantId: string; timerId: string },
): CanaryRequest[] {
  const action = makeAction(`${receiverUrl}/`);
  const timer = makeTimer(`${receiverUrl}/works`);
  const withAction = (fields: object) => ({ ...timer, action: { ...action, ...fields } });
  const wrong: [string, string, unknown][] = [
    ['POST', '/v1/timers', withAction({ headers: { authorization: `${HEADER}é` } })],
    ['POST', '/v1/timers', withAction({ url: `http://10.0.0.1/${PAYLOAD}` })],
    ['POST', '/v1/timers', withAction({ method: HEADER })],
    ['POST', '/v1/timers', { ...timer, action: HEADER }],
    ['POST', '/v1/timers', { ...timer, delay: { type: 'duration', value: HEADER, unit: PAYLOAD } }],
    ['POST', '/v1/timers', { ...timer, timeZone: PAYLOAD }],
    ['POST', '/v1/timers', { ...timer, payload: PAYLOAD.repeat(5_000) }],
    ['POST', '/v1/timers', withAction({ headers: { cookie: HEADER.repeat(400) } })],
    ['PATCH', `/v1/timers/${timerId}`, { action: { ...action, headers: { authorization: 7, cookie: HEADER } } }],
    ['PATCH', `/v1/timers/${timerId}`, { version: 99, payload: PAYLOAD }],
    ['POST', '/v1/workflows', { name: 'w', tasks: [{ key: HEADER, action }] }],
    ['POST', '/v1/runs', { workflowId: PAYLOAD, input: HEADER }],
    ['POST', '/v1/tenants', { name: 'x', signingSecret: `${SIGNING_SECRET}!` }],
    ['POST', `/v1/tenants/${tenantId}/signing-secrets`, { signingSecret: `${SIGNING_SECRET.slice(0, -2)}` }],
    ['POST', '/v1/api-keys', { name: 'k', scope: key }],
    ['GET', `/v1/timers?cursor=${key}&taskKey=${PAYLOAD}`, undefined],
    ['GET', `/v1/timers/${encodeURIComponent(HEADER)}`, undefined],
  ];
  return [
    ...wrong.map(([method, path, body]) => ({ method, path, body, key })),
    { method: 'POST', path: '/v1/timers', key, text: `{"payload":"${PAYLOAD}","action":${HEADER}` },
  ];
}
