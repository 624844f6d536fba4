/** What went wrong, for programs. The message is for people: one sentence or two, and says what to do. */
export type LocalServerErrorCode =
  | 'unsupported_platform'
  | 'no_unprivileged_user'
  | 'folder_in_use'
  | 'folder_not_writable'
  | 'folder_not_empty'
  | 'not_a_data_folder'
  | 'wrong_major_version'
  | 'disk_full'
  | 'port_in_use'
  | 'init_failed'
  | 'start_failed'
  | 'start_timed_out'
  | 'redis_not_found'
  | 'redis_install_failed'
  | 'migration_failed';

/**
 * A local server cannot be started. Whoever started it prints `message` alone, without a stack, and exits 1.
 * `isRetryable` is true when the same call may succeed later with nothing changed by hand.
 */
export class LocalServerError extends Error {
  override readonly name = 'LocalServerError';
  readonly code: LocalServerErrorCode;
  readonly isRetryable: boolean;

  constructor(code: LocalServerErrorCode, message: string, options: { isRetryable?: boolean; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.isRetryable = options.isRetryable ?? false;
  }
}

/** The `code` of a failed system call ("EACCES"), or undefined when the error is of another kind. */
export function systemErrorCode(error: unknown): string | undefined {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return undefined;
}
