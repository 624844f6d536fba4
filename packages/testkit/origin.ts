import type { ChangeOrigin } from '@punctual/database';

/** By whom tests change timers, where they do it without the api. */
export const TEST_ORIGIN: ChangeOrigin = { action: 'timer.change', actor: 'nobody', keyId: null, requestId: 'test' };
