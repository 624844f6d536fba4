/** A place in the code at which a process is to die, by SIGKILL, when it comes there for the `passes`-th time. */
export interface FailpointPlan {
  name: string;
  passes: number;
}

/** A change of one module's text: a defect put in on purpose. */
export interface SourceEdit {
  /** The end of its path, from the beginning of a name. */
  file: string;
  find: string;
  replace: string;
}

/** What is different about a service. */
export interface Tweaks {
  failpoint?: FailpointPlan;
  edits?: readonly SourceEdit[];
  /** Its wall clock is so far ahead of the machine's (ms). */
  clockOffsetMs?: number;
  /** V8's limit for its heap (MB): a process that needs more dies. */
  heapMegabytes?: number;
}
