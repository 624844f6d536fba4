import { Type } from 'typebox';

/** More would be more connections than they are worth. */
const QUEUE_COUNT_MAX = 16;

/** Settings of every service that has to do with the queue, besides where it is. */
export const QUEUE_SETTINGS = {
  REDIS_PREFIX: Type.String({ default: 'punctual', description: "Before each of the queue's keys in Redis." }),
  QUEUE_COUNT: Type.Integer({
    minimum: 1,
    maximum: QUEUE_COUNT_MAX,
    default: 1,
    description:
      'Queues that share what is dispatched, of which each lives on one node of a Redis Cluster: 4 reach all nodes of three or four. Above 1 it needs REDIS_URL. To make them more restart workers first, to make them fewer schedulers first.',
  }),
} as const;
