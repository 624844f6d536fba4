/**
 * SQL, of a row `t` of `timers`: the next instant at which a scheduler must look at it. A row that runs is looked at when
 * its lease ends; those that were started before there was `lease_ends_at` have that in `wake_at`.
 */
export const LOOK_AT = `(CASE t.state WHEN 'running' THEN coalesce(t.lease_ends_at, t.wake_at) ELSE t.wake_at END)`;
