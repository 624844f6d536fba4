/** How much of an output, or of an error, an attempt shows (bytes of UTF-8): as of an endpoint's answer. */
const SHOWN_BYTES_MAX = 4_096;

/** The beginning of a text, in whole characters. */
export function cutText<Text extends string | undefined>(text: Text): Text {
  if (text === undefined || text.length * 3 <= SHOWN_BYTES_MAX) return text;
  const bytes = Buffer.from(text);
  if (bytes.length <= SHOWN_BYTES_MAX) return text;
  let end = SHOWN_BYTES_MAX;
  // Not within a character: its later bytes begin with 10.
  while ((bytes[end]! & 0b1100_0000) === 0b1000_0000) end -= 1;
  return bytes.toString('utf8', 0, end) as Text;
}
