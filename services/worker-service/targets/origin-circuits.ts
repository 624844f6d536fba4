import {
  type CircuitBreakerPolicy,
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  DelegateBackoff,
  handleWhenResult,
} from 'cockatiel';
import type { Contact } from './http-outcome.ts';

/**
 * Waits before the probes of a circuit that stays open (ms), one after the other; the last again and again. The first
 * makes little of a restart, the last keeps an endpoint that is back from waiting for longer than its callers would.
 */
export const PROBE_WAITS_MS = [1_000, 2_000, 4_000, 8_000, 16_000, 30_000] as const;
/**
 * Circuits that are kept, open or counting: some 2 KB each. Beyond it one gives way of the tenant that has the most; who
 * has the most goes without, as if circuits were turned off.
 */
export const CIRCUITS_MAX = 4_096;
/**
 * Those of one tenant. Whoever owns a domain has as many origins as they like. Beyond it one that only counts gives way;
 * when all are open, further origins of this tenant go without.
 */
export const CIRCUITS_PER_TENANT_MAX = 512;
/**
 * Between two timers that come back to this worker's open circuits (ms). Each return costs what a delivery does, and a
 * worker makes some thousands of those a second: of this many, which achieve nothing, it takes little notice. Tenants
 * have equal shares of that, and the circuits of a tenant of its share.
 */
export const RETURN_SPACING_MS = 2;
/**
 * Those who come back to a circuit are spread over so long at most (ms), which 300,000 timers of all circuits fill; then
 * the places start over.
 */
export const RETURN_SPREAD_MAX_MS = 600_000;
/** How often it is looked which circuits nobody comes back to any more, whose shares are the others' then (ms). */
const SHARES_REVIEWED_MS = 1_000;
/**
 * A circuit to which nobody came for so long is forgotten (ms), so that it is not shown as open for ever. Longer than
 * RETURN_SPREAD_MAX_MS and the longest wait together, or those on their way back would find it gone.
 */
export const FORGOTTEN_AFTER_MS = 1_200_000;
/** Open circuits that `listOpen` shows: each heartbeat carries them. */
export const OPEN_LISTED_MAX = 20;

/** An open circuit, for people. */
export interface OpenCircuit {
  origin: string;
  tenantId: string;
  /** Attempts in a row without an answer. */
  failures: number;
  /** When it opened, by this host's clock (RFC 3339). */
  since: string;
  /** When the next attempt is let through; past: it is under way, or nobody has come to make it. */
  until: string;
}

export interface OriginCircuitsOptions {
  /** Attempts in a row without an answer that open a circuit; 0: none ever opens. */
  failuresToOpen: number;
  /** Told once when a circuit opens, not again when its probes fail. */
  onOpened: (circuit: OpenCircuit) => void;
  /** Told when one that was open is dropped, because of an answer or because nobody came any more. */
  onClosed: (circuit: OpenCircuit) => void;
  /** Milliseconds of a clock that never goes back. */
  now?: () => number;
}

export interface OriginCircuits {
  /** Whether an attempt would have to wait now. Ask it before the attempt takes up room elsewhere; it changes nothing. */
  mustWait(tenantId: string, origin: string): boolean;
  /**
   * Asks whether an attempt may be sent. `passed` and `probe` must be followed by exactly one `report`, at once when it
   * is not sent after all; `wait` means that the timer should be postponed by `suggestPostponeMs`, not counted.
   */
  admit(tenantId: string, origin: string): 'passed' | 'probe' | 'wait';
  /** Tells what came of an attempt that was admitted, or that was made without asking, which counts as `passed`. */
  report(tenantId: string, origin: string, contact: Contact, admission: 'passed' | 'probe'): void;
  /**
   * How long to postpone a timer that must wait (ms, from 1): until the next probe, which the first to come back is, and
   * each further call longer by RETURN_SPACING_MS times the number of shares, so that they do not all come back at once.
   */
  suggestPostponeMs(tenantId: string, origin: string): number;
  /** Drops circuits to which nobody came for FORGOTTEN_AFTER_MS. To be called now and then. */
  forgetIdle(): void;
  /** Open circuits, those first that failed first, at most OPEN_LISTED_MAX. */
  listOpen(): OpenCircuit[];
  readonly openCount: number;
  /** Circuits that are kept: of origins of which the last attempt to tell had no answer. */
  readonly size: number;
}

interface Tenant {
  /** In the order in which they were made. */
  circuits: Set<Circuit>;
  crowdedCount: number;
}

interface Circuit {
  origin: string;
  tenantId: string;
  policy: CircuitBreakerPolicy;
  failures: number;
  /** By the wall clock; undefined while it is closed and only counts. */
  openedAt: number | undefined;
  /** How often it opened without an answer in between. */
  openings: number;
  probeAt: number;
  tellProbe: (contact: Contact) => void;
  /** When the place after the one given out last comes up. */
  nextPlaceAt: number;
  /** More than one timer is on its way back, so that it has a share. */
  isCrowded: boolean;
  usedAt: number;
}

// The wait for a probe is judged here, by a clock that nobody sets. The library would judge it by the wall clock, and
// keep a circuit open for as long as that was set back; with this wait it never refuses.
const JUDGED_HERE = Number.NEGATIVE_INFINITY;

/**
 * Keeps attempts from endpoints that are dead, so that timers wait for such an endpoint to come back instead of using up
 * their attempts, and so that it costs the others nothing. An endpoint is dead when attempts in a row had no answer. Then
 * one attempt after each of PROBE_WAITS_MS is let through, and the first answer ends it.
 *
 * Tenants have circuits of their own: what makes an attempt fail, a path that hangs or a short time-out, is in the hands
 * of whoever made the timer. Circuits are kept only from the first attempt without an answer to the next one with one, so
 * healthy endpoints have none. Killed, it leaves nothing: another worker learns anew.
 */
export function createOriginCircuits(options: OriginCircuitsOptions): OriginCircuits {
  const { failuresToOpen, onOpened, onClosed, now = () => performance.now() } = options;
  /** By origin, then by tenant, so that the attempts of other origins need no key of their own to find that they have none. */
  const byOrigin = new Map<string, Map<string, Circuit>>();
  /** In the order in which they were made. */
  const circuits = new Set<Circuit>();
  /** Those that have circuits. */
  const tenants = new Map<string, Tenant>();
  let openCount = 0;
  let crowdedTenants = 0;
  let reviewedAt = now();

  const find = (tenantId: string, origin: string) => byOrigin.get(origin)?.get(tenantId);

  const describe = (circuit: Circuit): OpenCircuit => ({
    origin: circuit.origin,
    tenantId: circuit.tenantId,
    failures: circuit.failures,
    since: new Date(circuit.openedAt ?? Date.now()).toISOString(),
    until: new Date(Date.now() + circuit.probeAt - now()).toISOString(),
  });

  const setCrowded = (circuit: Circuit, isCrowded: boolean): void => {
    const tenant = tenants.get(circuit.tenantId);
    if (tenant === undefined || circuit.isCrowded === isCrowded) return;
    circuit.isCrowded = isCrowded;
    tenant.crowdedCount += isCrowded ? 1 : -1;
    if (tenant.crowdedCount === 0) crowdedTenants -= 1;
    else if (isCrowded && tenant.crowdedCount === 1) crowdedTenants += 1;
  };

  // One to which a place is given is crowded at once, so that many that open in the same moment do not each take the whole.
  const reviewShares = (at: number): void => {
    if (at - reviewedAt < SHARES_REVIEWED_MS) return;
    reviewedAt = at;
    for (const circuit of circuits) if (circuit.isCrowded && circuit.nextPlaceAt <= at) setCrowded(circuit, false);
  };

  const drop = (circuit: Circuit): void => {
    if (!circuits.has(circuit)) return;
    setCrowded(circuit, false);
    circuits.delete(circuit);
    const tenant = tenants.get(circuit.tenantId);
    tenant?.circuits.delete(circuit);
    if (tenant?.circuits.size === 0) tenants.delete(circuit.tenantId);
    const ofOrigin = byOrigin.get(circuit.origin);
    ofOrigin?.delete(circuit.tenantId);
    if (ofOrigin?.size === 0) byOrigin.delete(circuit.origin);
    if (circuit.openedAt === undefined) return;
    openCount -= 1;
    onClosed(describe(circuit));
  };

  const open = (circuit: Circuit, openings: number): void => {
    circuit.openings = openings;
    circuit.probeAt = now() + chooseWaitMs(openings);
    if (circuit.openedAt !== undefined || !circuits.has(circuit)) return;
    circuit.openedAt = Date.now();
    openCount += 1;
    onOpened(describe(circuit));
  };

  const findCounting = (tenant: Tenant) => tenant.circuits.values().find(({ openedAt }) => openedAt === undefined);

  const hasRoomFor = (tenantId: string): boolean => {
    const own = tenants.get(tenantId);
    const ownCount = own?.circuits.size ?? 0;
    if (ownCount < CIRCUITS_PER_TENANT_MAX && circuits.size < CIRCUITS_MAX) return true;
    let from = own;
    if (ownCount < CIRCUITS_PER_TENANT_MAX) {
      for (const tenant of tenants.values()) if (tenant.circuits.size > (from?.circuits.size ?? 0)) from = tenant;
    }
    if (from === undefined) return false;
    // A tenant of its own accord gives up none that is open; another's share is too large.
    const leaving = findCounting(from) ?? (from === own ? undefined : from.circuits.values().next().value);
    if (leaving === undefined) return false;
    drop(leaving);
    return true;
  };

  const make = (tenantId: string, origin: string): Circuit | undefined => {
    if (!hasRoomFor(tenantId)) return undefined;
    const circuit: Circuit = {
      origin,
      tenantId,
      policy: circuitBreaker(
        handleWhenResult((contact) => contact !== 'answered'),
        {
          breaker: new ConsecutiveBreaker(failuresToOpen),
          halfOpenAfter: new DelegateBackoff(({ attempt }) => {
            open(circuit, attempt);
            return JUDGED_HERE;
          }),
        },
      ),
      failures: 0,
      openedAt: undefined,
      openings: 0,
      probeAt: 0,
      tellProbe: () => {},
      nextPlaceAt: 0,
      isCrowded: false,
      usedAt: now(),
    };
    circuit.policy.onReset(() => drop(circuit));
    circuits.add(circuit);
    tenants.getOrInsertComputed(tenantId, () => ({ circuits: new Set(), crowdedCount: 0 })).circuits.add(circuit);
    byOrigin.getOrInsertComputed(origin, () => new Map<string, Circuit>()).set(tenantId, circuit);
    return circuit;
  };

  const isWaiting = (circuit: Circuit): boolean => {
    const { state } = circuit.policy;
    return state === CircuitState.HalfOpen || (state === CircuitState.Open && now() < circuit.probeAt);
  };

  return {
    mustWait(tenantId, origin) {
      const circuit = find(tenantId, origin);
      return circuit !== undefined && isWaiting(circuit);
    },

    admit(tenantId, origin) {
      const circuit = find(tenantId, origin);
      if (circuit === undefined || circuit.policy.state === CircuitState.Closed) return 'passed';
      if (isWaiting(circuit)) return 'wait';
      const { promise, resolve } = Promise.withResolvers<Contact>();
      circuit.tellProbe = resolve;
      circuit.usedAt = now();
      // Half-open from here on; the library would let further calls wait in memory for this one, so none is made.
      void circuit.policy.execute(() => promise);
      return 'probe';
    },

    report(tenantId, origin, contact, admission) {
      if (circuits.size === 0 && contact !== 'unanswered') return;
      let circuit = find(tenantId, origin);
      if (admission === 'probe' && circuit?.policy.state === CircuitState.HalfOpen) {
        if (contact === 'unanswered') circuit.failures += 1;
        // One that tells nothing must end the probe all the same.
        circuit.tellProbe(contact);
      } else if (contact === 'answered') {
        // Also one that was sent before the circuit opened: whoever answers is not dead.
        if (circuit !== undefined) drop(circuit);
      } else if (contact === 'unanswered' && failuresToOpen > 0) {
        circuit ??= make(tenantId, origin);
        if (circuit === undefined) return;
        circuit.failures += 1;
        circuit.usedAt = now();
        // Of an open circuit only the probe decides.
        if (circuit.policy.state === CircuitState.Closed) void circuit.policy.execute(() => contact);
      }
    },

    suggestPostponeMs(tenantId, origin) {
      const circuit = find(tenantId, origin);
      // An answer has come meanwhile.
      if (circuit === undefined) return 1;
      const at = now();
      circuit.usedAt = at;
      // A probe that takes its time will fail, so they wait as if it had.
      const isProbing = circuit.policy.state === CircuitState.HalfOpen;
      const firstPlaceAt = isProbing ? at + chooseWaitMs(circuit.openings + 1) : Math.max(circuit.probeAt, at + 1);
      const isBeyond = circuit.nextPlaceAt > firstPlaceAt + RETURN_SPREAD_MAX_MS;
      const placeAt = isBeyond ? firstPlaceAt : Math.max(firstPlaceAt, circuit.nextPlaceAt);
      reviewShares(at);
      // One alone comes as the probe, which all circuits may have when it is due.
      if (circuit.nextPlaceAt > firstPlaceAt) setCrowded(circuit, true);
      const shares = Math.max(1, crowdedTenants * (tenants.get(tenantId)?.crowdedCount ?? 0));
      circuit.nextPlaceAt = placeAt + RETURN_SPACING_MS * shares;
      return Math.ceil(placeAt - at);
    },

    forgetIdle() {
      const before = now() - FORGOTTEN_AFTER_MS;
      for (const circuit of circuits) {
        if (circuit.usedAt < before && circuit.policy.state !== CircuitState.HalfOpen) drop(circuit);
      }
    },

    listOpen() {
      return [
        ...circuits
          .values()
          .filter(({ openedAt }) => openedAt !== undefined)
          .take(OPEN_LISTED_MAX)
          .map(describe),
      ];
    },

    get openCount() {
      return openCount;
    },

    get size() {
      return circuits.size;
    },
  };
}

/** `openings` from 1. */
function chooseWaitMs(openings: number): number {
  return PROBE_WAITS_MS[Math.min(openings, PROBE_WAITS_MS.length) - 1]!;
}
