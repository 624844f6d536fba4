/**
 * What the connections of tests are called, to Postgres and to Redis. Those of services have other names, and only they
 * get the faults that are injected: what a test itself looks at and does is as reliable as ever.
 */
export const TEST_CONNECTION_NAME = 'test';
