/** One thing that is wrong with an input. `pointer` is a JSON pointer (RFC 6901) into it, empty for the whole. */
export interface Fault {
  pointer: string;
  detail: string;
}
