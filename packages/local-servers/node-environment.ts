/** Of our environment, what Node itself needs, and where it keeps what it has compiled: with it a process starts sooner. */
const NAMES = ['PATH', 'HOME', 'NODE_COMPILE_CACHE'] as const;

/** For a process of ours that is to know nothing else of the environment that we run in. */
export function listNodeEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(NAMES.map((name) => [name, process.env[name]]));
}
