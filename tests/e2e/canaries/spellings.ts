/** A text that stands out wherever it turns up, and where it must never be found. */
export interface Canary {
  name: string;
  text: string;
  /** Payloads are the customer's data, not a secret: they may be in Postgres, and nowhere else. */
  isPayload?: boolean;
}

/** One way to write a canary. */
interface Spelling {
  how: string;
  bytes: Buffer;
}

/** What was found where. */
export interface Finding {
  canary: string;
  how: string;
  place: string;
}

/** The ways in which something can be written that a careless program writes: as it is, or encoded, within something larger. */
export function spell(text: string): Spelling[] {
  const plain = Buffer.from(text, 'utf8');
  const spellings = [
    { how: 'plain', bytes: plain },
    { how: 'UTF-16', bytes: Buffer.from(text, 'utf16le') },
    { how: 'hex', bytes: Buffer.from(plain.toString('hex')) },
    { how: 'hex in capitals', bytes: Buffer.from(plain.toString('hex').toUpperCase()) },
    { how: 'for a URL', bytes: Buffer.from(encodeURIComponent(text)) },
    { how: 'JSON', bytes: Buffer.from(JSON.stringify(text).slice(1, -1)) },
    ...spellBase64(plain),
  ];
  // A signing secret is base64 itself: what it encodes is the key.
  const key = /^whsec_(.+)$/.exec(text)?.[1];
  if (key !== undefined) {
    const bytes = Buffer.from(key, 'base64');
    spellings.push(
      { how: 'the key itself', bytes },
      { how: 'the key in hex', bytes: Buffer.from(bytes.toString('hex')) },
    );
  }
  return spellings;
}

// Base64 of something that holds the text looks different by the text's place modulo three. The characters at both ends
// also depend on what stands beside it.
function spellBase64(plain: Buffer): Spelling[] {
  return [0, 1, 2].flatMap((shift) => {
    const encoded = Buffer.concat([Buffer.alloc(shift), plain]).toString('base64');
    const first = Math.ceil((shift * 8) / 6);
    const last = Math.floor(((shift + plain.length) * 8) / 6);
    const middle = encoded.slice(first, last);
    return [
      { how: `base64, ${shift} bytes on`, bytes: Buffer.from(middle) },
      { how: `base64url, ${shift} bytes on`, bytes: Buffer.from(middle.replaceAll('+', '-').replaceAll('/', '_')) },
    ];
  });
}

/** Every canary, in whatever spelling, that is found in the bytes of any of the places. */
export function findCanaries(canaries: readonly Canary[], places: Iterable<[name: string, bytes: Buffer]>): Finding[] {
  const wanted = canaries.map(({ name, text }) => ({ name, spellings: spell(text) }));
  const findings: Finding[] = [];
  for (const [place, bytes] of places) {
    for (const { name, spellings } of wanted) {
      const found = spellings.find((spelling) => bytes.includes(spelling.bytes));
      if (found) findings.push({ canary: name, how: found.how, place });
    }
  }
  return findings;
}
