import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { registerDismissDeadLetter } from './dismiss-dead-letter.ts';
import { registerListDeadLetters } from './list-dead-letters.ts';
import { registerRedriveDeadLetter, registerRedriveDeadLetters } from './redrive-dead-letters.ts';

/** Everything under `/v1/dead-letters`. */
export function registerDeadLetterRoutes(app: ApiServer, context: ApiContext): void {
  registerListDeadLetters(app, context);
  registerRedriveDeadLetter(app, context);
  registerRedriveDeadLetters(app, context);
  registerDismissDeadLetter(app, context);
}
