/** Names of time zones. The set is that of the tz data compiled into the runtime. */

/** The longest IANA name today has 32 characters; longer input is refused before it is looked at. */
const TIME_ZONE_LENGTH_MAX = 64;

/**
 * IANA knows some 600 names, aliases included. Keys are in lower case and only known names are kept, so the limit is
 * not reached; it is there so that no tz release and no caller can make the cache grow without end.
 */
const TIME_ZONES_CACHED_MAX = 1_024;

/** `Temporal` also takes offsets (`+02:00`) for zones. An IANA name begins with a letter, an offset never does. */
const NAME_PATTERN = /^[A-Za-z][A-Za-z0-9_+\-/]*$/;

const canonicalNames = new Map<string, string>();

/**
 * The IANA spelling of a zone's name (`europe/paris` gives `Europe/Paris`), or undefined when no such zone is known.
 * Aliases stay what they are: `Asia/Calcutta` is not turned into `Asia/Kolkata`. Offsets are not zones.
 */
export function canonicalTimeZone(name: string): string | undefined {
  if (name.length > TIME_ZONE_LENGTH_MAX) return undefined;
  const key = name.toLowerCase();
  const cached = canonicalNames.get(key);
  if (cached !== undefined) return cached;
  if (!NAME_PATTERN.test(name)) return undefined;
  try {
    const canonical = new Temporal.ZonedDateTime(0n, name).timeZoneId;
    if (canonicalNames.size < TIME_ZONES_CACHED_MAX) canonicalNames.set(key, canonical);
    return canonical;
  } catch (error) {
    // A RangeError is how Temporal says that it does not know the name; anything else is a defect.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** Whether `name` is an IANA zone, in whatever case. */
export function isKnownTimeZone(name: string): boolean {
  return canonicalTimeZone(name) !== undefined;
}
