import { describe, expect, it } from 'vitest';
import type { Action } from '../timer.ts';
import { isSealedText, Keyring, parseEncryptionKeys, SEALED_PREFIX, UnreadableSecretError } from './keyring.ts';
import {
  hasMask,
  isSecretHeader,
  maskAction,
  maskActionText,
  openAction,
  resealAction,
  SECRET_MASK,
  sealAction,
} from './secret-headers.ts';

const encode = (byte: number) => Buffer.alloc(32, byte).toString('base64');
const keyring = parseEncryptionKeys(`old:${encode(1)}`);
const tenantId = '00000000-0000-7000-8000-00000000000a';
const other = '00000000-0000-7000-8000-00000000000b';
const http = (headers?: Record<string, string>, url = 'https://api.example/hook'): Action => ({
  type: 'http',
  url,
  ...(headers && { headers }),
});
const SECRET = { Authorization: 'Bearer canary', 'x-plain': 'shown' };
const seal = (action: Action, stored?: Action, ring = keyring) =>
  sealAction(action, { keyring: ring, tenantId, stored });
const headersOf = (action: Action) => (action.type === 'http' ? action.headers! : {});

describe('headers that carry secrets', () => {
  it.each([
    'Authorization',
    'proxy-authorization',
    'Cookie',
    'Set-Cookie',
    'X-Api-Key',
    'api-key',
    'apikey',
    'X-ApiKey',
    'x_api_key',
    'X-Auth-Token',
    'X-Access-Token',
    'Private-Token',
    'X-Vault-Token',
    'X-Gitlab-Token',
    'X-Amz-Security-Token',
    'X-Goog-Api-Key',
    'Ocp-Apim-Subscription-Key',
    'X-Functions-Key',
    'x-shared-secret',
    'X-Webhook-Secret',
    'X-Password',
    'X-Session-Id',
    'X-Hub-Signature',
    'Signature',
    'X-JWT-Assertion',
    'X-AccessToken',
    'X-AuthToken',
    'PrivateToken',
    'X-ClientSecret',
    'X-UserPassword',
    'X-Passwd',
    'SessionId',
    'PHPSESSION',
    'ApiKeyId',
    'X-MyApiKey2',
    'X-CSRFToken',
    'AuthKey',
    'X-Authorized-By',
    'X-OAuth2-Bearer',
    'WWW-Authenticate',
    'X-AuthorToken',
    'X-CredentialId',
    'MyJwt',
  ])('are known by their names: %s', (name) => expect(isSecretHeader(name)).toBe(true));

  it.each([
    'Content-Type',
    'Accept',
    'X-Routing-Key',
    'X-Partition-Key',
    'Surrogate-Key',
    'X-Request-Id',
    'Author',
    'X-Author',
    'X-Authors-Count',
    'X-Authored-By',
    'X-Forwarded-Authority',
    'Tokenizer',
    'X-Tokenised',
    'X-Secretary',
    'X-Cookieless',
    'Monkey',
    'If-Match',
  ])('are not: %s', (name) => expect(isSecretHeader(name)).toBe(false));
});

describe('an action that is stored', () => {
  it('has its secrets sealed, and nothing else', () => {
    const { action, faults } = seal(http(SECRET));
    expect(faults).toEqual([]);
    expect(headersOf(action)['x-plain']).toBe('shown');
    expect(isSealedText(headersOf(action).Authorization!)).toBe(true);
    expect(JSON.stringify(action)).not.toContain('canary');
  });

  it.each([
    ['no headers', http()],
    ['other headers', http({ 'x-plain': 'shown' })],
    ['no request', { type: 'noop' } as Action],
  ])('is the same object when it has %s', (_name, action) => {
    expect(seal(action).action).toBe(action);
    expect(maskAction(action)).toBe(action);
    expect(openAction(action, tenantId, keyring)).toBe(action);
  });

  it('stays as it is where there is no key', () => {
    expect(headersOf(seal(http(SECRET), undefined, new Keyring()).action)).toEqual(SECRET);
  });

  it('is sent with its secrets, by its own tenant and under its own name only', () => {
    const { action } = seal(http(SECRET));
    expect(headersOf(openAction(action, tenantId, keyring))).toEqual(SECRET);
    expect(() => openAction(action, other, keyring)).toThrow(UnreadableSecretError);
    const renamed = http({ 'X-Api-Key': headersOf(action).Authorization! });
    expect(() => openAction(renamed, tenantId, keyring)).toThrow(UnreadableSecretError);
    expect(() => openAction(action, tenantId, new Keyring())).toThrow(UnreadableSecretError);
  });

  it('may not pretend to be sealed, in whatever header', () => {
    const { faults } = seal(http({ 'x-plain': `${SEALED_PREFIX}old:AAAA`, cookie: SEALED_PREFIX }));
    expect(faults.map(({ pointer }) => pointer)).toEqual(['/headers/x-plain', '/headers/cookie']);
  });
});

describe('an answer', () => {
  it('shows a mask in place of each secret, sealed or not', () => {
    const shown = { Authorization: SECRET_MASK, 'x-plain': 'shown' };
    expect(headersOf(maskAction(http(SECRET)))).toEqual(shown);
    expect(headersOf(maskAction(seal(http(SECRET)).action))).toEqual(shown);
    expect(JSON.parse(maskActionText(JSON.stringify(seal(http(SECRET)).action)))).toEqual(http(shown));
  });

  it('shows text without headers as it is stored', () => {
    const text = '{"type":"http","url":"https://a.example/","body":{"authorization":"of the payload"}}';
    expect(maskActionText(text)).toBe(text);
    const withHeaders = '{"type":"noop","note":"\\"headers\\""}';
    expect(maskActionText(withHeaders)).toBe(withHeaders);
  });
});

describe('a mask that is sent back', () => {
  const stored = seal(http(SECRET)).action;
  const masked = http({ authorization: SECRET_MASK, 'x-plain': 'changed' });

  it('is seen', () => {
    expect(hasMask(masked)).toBe(true);
    expect(hasMask(http(SECRET))).toBe(false);
    expect(hasMask(http({ 'x-plain': SECRET_MASK }))).toBe(false);
  });

  it('keeps the secret that is stored, whatever the case of its name', () => {
    const { action, faults } = seal(masked, stored);
    expect(faults).toEqual([]);
    expect(headersOf(openAction(action, tenantId, keyring))).toEqual({
      authorization: 'Bearer canary',
      'x-plain': 'changed',
    });
  });

  it('seals a secret that was stored before there was a key', () => {
    const { action } = seal(masked, http(SECRET));
    expect(isSealedText(headersOf(action).authorization!)).toBe(true);
  });

  it('keeps it at the same origin and path, with whatever query, and nowhere else', () => {
    const to = (url: string) => seal(http({ authorization: SECRET_MASK }, url), stored).faults;
    expect(to('https://API.example:443/a/../hook?x=1')).toEqual([]);
    for (const url of [
      'https://evil.example/hook',
      'http://api.example/hook',
      'https://api.example:8443/hook',
      'https://api.example/elsewhere',
      'https://api.example/hook/',
      'no url',
    ]) {
      expect(to(url), url).toEqual([
        { pointer: '/headers/authorization', detail: expect.stringMatching(/path of the URL stay: send the secret/) },
      ]);
    }
  });

  it('is refused where nothing is stored', () => {
    for (const before of [undefined, http({ 'x-api-key': 'another' }), { type: 'noop' } as Action]) {
      expect(seal(masked, before).faults).toMatchObject([{ pointer: '/headers/authorization' }]);
    }
  });

  it('is an ordinary value in a header without a secret', () => {
    expect(seal(http({ 'x-plain': SECRET_MASK })).faults).toEqual([]);
  });
});

describe('another key', () => {
  const newer = parseEncryptionKeys(`new:${encode(2)},old:${encode(1)}`);
  const alone = parseEncryptionKeys(`new:${encode(2)}`);

  it('takes over what is plain and what the old one sealed, after which the old one is not needed', () => {
    for (const before of [http(SECRET), seal(http(SECRET)).action]) {
      const resealed = resealAction(before, tenantId, newer);
      expect(headersOf(openAction(resealed, tenantId, alone))).toEqual(SECRET);
      expect(resealAction(resealed, tenantId, newer)).toBe(resealed);
    }
  });

  it('leaves alone what has no secrets', () => {
    const action = http({ 'x-plain': 'shown' });
    expect(resealAction(action, tenantId, newer)).toBe(action);
  });
});
