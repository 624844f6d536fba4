/**
 * SQL: the instant by which something must have ended to be past a retention of so many days: the beginning of the UTC day so
 * long ago. The history's days of before it are dropped, too.
 */
export const pastRetention = (days: string): string =>
  `(date_trunc('day', statement_timestamp(), 'UTC') - ${days} * interval '1 day')`;
