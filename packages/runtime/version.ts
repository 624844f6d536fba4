/** The version of Punctual, as its package files and its `user-agent` say it. */
export const VERSION = '0.1.0';
