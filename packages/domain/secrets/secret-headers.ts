import type { Fault } from '../fault.ts';
import type { Action } from '../timer.ts';
import { isSealedText, type Keyring, SEALED_PREFIX } from './keyring.ts';

/** What answers show in place of a secret. */
export const SECRET_MASK = '********';

// The one list. A name is that of a secret when one of these words stands anywhere in it, or a key of one of these kinds
// does: `Authorization`, `X-Api-Key`, `PrivateToken`, `X-ClientSecret`, `SessionId`, `Ocp-Apim-Subscription-Key`.
// Too many rather than too few: a mask in place of what is no secret gets in the way, and a secret in plain text gets out.
// `key` alone is not enough: `X-Routing-Key` is none.
const SECRET_WORDS = 'auth|cookie|token|secret|passwo?r?d|passphrase|credential|jwt|session|signature|api[^a-z0-9]?key';
const SECRET_KEYS =
  'api|app|access|account|admin|auth|client|function|functions|license|master|private|secret|security|service|shared|signing|subscription';
/** Of names in lower case, as text: Postgres reads it as well, so only what both understand stands in it. */
export const SECRET_NAME_PATTERN = `${SECRET_WORDS}|(?:${SECRET_KEYS})[^a-z0-9]?key(?:$|[^a-z0-9])`;
/**
 * Words that hold one of those and mean something else, to be taken out of a name before. `Author` is a person, but `Authorize`
 * and `Authorization` are not; `Authority` is a host.
 */
export const HARMLESS_NAME_PATTERN =
  'authors?(?=$|[^a-z0-9])|authored|authority|tokeni[sz](?:ed?|ers?|ing|ation)(?=$|[^a-z0-9])|cookieless|secretar(?:y|iat)|obsession|possession';
const SECRET_NAME = new RegExp(SECRET_NAME_PATTERN);
const HARMLESS_WORDS = new RegExp(HARMLESS_NAME_PATTERN, 'g');
/** Every JSON text of an action with headers holds it. */
const HEADERS_KEY = '"headers"';
const NO_FAULTS: readonly Fault[] = [];

/** Whether a header of that name carries a secret, in whatever case it is written. */
export function isSecretHeader(name: string): boolean {
  return SECRET_NAME.test(name.toLowerCase().replace(HARMLESS_WORDS, '-'));
}

/** Whether an action holds a mask where a secret has to be. */
export function hasMask(action: Action): boolean {
  return findHeader(action, (name, value) => value === SECRET_MASK && isSecretHeader(name)) !== undefined;
}

/** How an action's secrets are sealed. */
export interface SealOptions {
  keyring: Keyring;
  tenantId: string;
  /** What is stored at present, if anything: where the new action has a mask, its secret stays. */
  stored?: Action | undefined;
}

/**
 * The action as it is to be stored: values of secret headers sealed where there is a key. An action without such headers
 * comes back as it is. Pointers of faults are relative to the action.
 *
 * A mask keeps the secret only for the same origin and path: else whoever may change an action, but not read it, could have
 * its secrets sent to a server of their own, or to an address of the same server that shows or logs what it gets.
 */
export function sealAction(action: Action, options: SealOptions): { action: Action; faults: readonly Fault[] } {
  if (action.type !== 'http' || action.headers === undefined) return { action, faults: NO_FAULTS };
  const faults: Fault[] = [];
  let headers: Record<string, string> | undefined;
  for (const [name, value] of Object.entries(action.headers)) {
    const refuse = (detail: string) => faults.push({ pointer: `/headers/${escapeName(name)}`, detail });
    if (isSealedText(value)) {
      refuse(`The value must not begin with ${SEALED_PREFIX}`);
      continue;
    }
    if (!isSecretHeader(name)) continue;
    let secret = value;
    if (value === SECRET_MASK) {
      const kept = findKept(name, action.url, options.stored);
      if ('detail' in kept) {
        refuse(kept.detail);
        continue;
      }
      secret = kept.value;
    }
    headers ??= { ...action.headers };
    headers[name] = sealValue(secret, name, options);
  }
  return { action: headers === undefined ? action : { ...action, headers }, faults };
}

function findKept(name: string, url: string, stored: Action | undefined): { value: string } | { detail: string } {
  const found = stored && findHeader(stored, (other) => other.toLowerCase() === name.toLowerCase());
  if (!found || stored?.type !== 'http') {
    return {
      detail: 'This is the mask that answers show, and there is no secret that it could keep: send the secret.',
    };
  }
  const place = readPlace(url);
  if (place === undefined || place !== readPlace(stored.url)) {
    return {
      detail: 'A mask keeps the secret only where scheme, host, port and path of the URL stay: send the secret.',
    };
  }
  return { value: found.value };
}

/** Scheme, host, port and path. */
function readPlace(url: string): string | undefined {
  const parsed = URL.parse(url);
  return parsed === null ? undefined : parsed.origin + parsed.pathname;
}

function sealValue(value: string, name: string, { keyring, tenantId }: SealOptions): string {
  // One that was kept may be sealed already, or stem from a time without a key.
  if (isSealedText(value) || keyring.primaryKeyId === undefined) return value;
  return keyring.sealText(value, describeContext(tenantId, name));
}

/** The action as it is to be sent. Throws UnreadableSecretError. */
export function openAction(action: Action, tenantId: string, keyring: Keyring): Action {
  return mapHeaders(action, (name, value) => keyring.openText(value, describeContext(tenantId, name)));
}

/**
 * The same action under the present key, for whoever replaces keys: what is plain gets sealed, what another key sealed is
 * sealed anew. The same object when nothing changes. Throws UnreadableSecretError.
 */
export function resealAction(action: Action, tenantId: string, keyring: Keyring): Action {
  return mapHeaders(action, (name, value) => {
    const isPlain = !isSealedText(value);
    if (isPlain ? !isSecretHeader(name) : value.startsWith(`${SEALED_PREFIX}${keyring.primaryKeyId}:`)) return value;
    const context = describeContext(tenantId, name);
    return keyring.sealText(keyring.openText(value, context), context);
  });
}

/** The action as answers show it: a mask in place of each secret. */
export function maskAction(action: Action): Action {
  return mapHeaders(action, (name, value) => (isSecretHeader(name) || isSealedText(value) ? SECRET_MASK : value));
}

/** The same for the JSON text of an action; text without headers is not even parsed. */
export function maskActionText(text: string): string {
  if (!text.includes(HEADERS_KEY)) return text;
  const action = JSON.parse(text) as Action;
  const masked = maskAction(action);
  return masked === action ? text : JSON.stringify(masked);
}

/** The same object when `change` changes nothing. */
function mapHeaders(action: Action, change: (name: string, value: string) => string): Action {
  if (action.type !== 'http' || action.headers === undefined) return action;
  let headers: Record<string, string> | undefined;
  for (const [name, value] of Object.entries(action.headers)) {
    const changed = change(name, value);
    if (changed === value) continue;
    headers ??= { ...action.headers };
    headers[name] = changed;
  }
  return headers === undefined ? action : { ...action, headers };
}

function findHeader(
  action: Action,
  isWanted: (name: string, value: string) => boolean,
): { name: string; value: string } | undefined {
  if (action.type !== 'http' || action.headers === undefined) return undefined;
  for (const [name, value] of Object.entries(action.headers)) if (isWanted(name, value)) return { name, value };
  return undefined;
}

function describeContext(tenantId: string, name: string): string {
  return `action-header ${tenantId} ${name.toLowerCase()}`;
}

function escapeName(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}
