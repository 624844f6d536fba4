/** A condition or an effect that is taken out of a statement, to see that it is missed. */
export interface Breakage {
  name: string;
  /** The name of the statement. */
  statement: string;
  /** The statement's text without it. Throws when the statement does not have it any more. */
  apply(text: string): string;
}

function replace(name: string, statement: string, part: string, by: string): Breakage {
  return {
    name,
    statement,
    apply(text) {
      if (!text.includes(part))
        throw new Error(`the statement ${statement} has no "${part}": mend the breakage "${name}"`);
      return text.replace(part, by);
    },
  };
}

const WAITING = "state IN ('scheduled', 'paused')";
const WAITING_OR_RUNNING = "state IN ('scheduled', 'paused', 'running')";

/** What the histories must notice. */
export const BREAKAGES: readonly Breakage[] = [
  replace('a start of another version', 'start_timers', 't.version = c.version AND ', ''),
  replace('a start before it is due', 'start_timers', 't.wake_at <= clock_timestamp() AND ', ''),
  replace('a start that does not count', 'start_timers', 'attempt = t.attempt + 1', 'attempt = t.attempt'),
  replace('a start that keeps the version', 'start_timers', 'version = t.version + 1', 'version = t.version'),
  replace('a lease that never ends', 'start_timers', "* interval '1 millisecond'", "* interval '1 year'"),
  replace('a restart of another version', 'restart_timers', 't.version = c.version AND ', ''),
  replace('a restart while the lease runs', 'restart_timers', ' <= clock_timestamp()', ' IS NOT NULL'),
  replace('a restart that keeps the version', 'restart_timers', 'version = t.version + 1', 'version = t.version'),
  replace('a loss that is not recorded', 'restart_timers', 'FROM t\n   )', 'FROM t WHERE false\n   )'),
  replace('an outcome of a lease that was lost', 'finish_timers', 't.version = o.version AND ', ''),
  replace('an end that is not in the ledger', 'finish_timers', 'FROM gone GROUP BY', 'FROM gone WHERE false GROUP BY'),
  replace('an end that leaves no history', 'finish_timers', "WHERE state <> 'dead'", 'WHERE false'),
  replace('a dead letter that nobody keeps', 'finish_timers', "WHERE state = 'dead'\n", 'WHERE false\n'),
  replace('a retry of a lease that was lost', 'retry_timers', 't.version = o.version AND ', ''),
  replace('a retry that keeps the version', 'retry_timers', 'version = t.version + 1', 'version = t.version'),
  replace('a retry without its wait', 'retry_timers', "+ o.wait_ms * interval '1 millisecond'", ''),
  replace('a failure that is not recorded', 'retry_timers', 'FROM waiting\n   )', 'FROM waiting WHERE false\n   )'),
  replace('a postponement that counts', 'postpone_timers', ', attempt = t.attempt - 1', ''),
  replace('a postponement that keeps the version', 'postpone_timers', 'version = t.version + 1', 'version = t.version'),
  replace('a cancel of what has started', 'cancel_timers', WAITING, WAITING_OR_RUNNING),
  replace('a cancel that takes no lock', 'cancel_timers', ' FOR UPDATE OF t', ''),
  replace(
    'a cancel that is not in the ledger',
    'cancel_timers',
    'count(*) FROM gone',
    'count(*) FROM gone WHERE false',
  ),
  replace(
    'a cancel that is not in the audit log',
    'cancel_timers',
    'FROM gone GROUP BY entry',
    'FROM gone WHERE false GROUP BY entry',
  ),
  replace(
    'an edit that is not in the audit log',
    'change_timers',
    'FROM changed GROUP BY entry',
    'FROM changed WHERE false GROUP BY entry',
  ),
  replace('a lone cancel of what has started', 'cancel_lone_timers', WAITING, WAITING_OR_RUNNING),
  replace('a lone cancel that takes no lock', 'cancel_lone_timers', ' FOR UPDATE OF t', ''),
  replace(
    'a lone cancel that is not in the ledger',
    'cancel_lone_timers',
    'count(*) FROM gone',
    'count(*) FROM gone WHERE false',
  ),
  replace('an edit of another version', 'change_timers', 't.version = coalesce(e.version, t.version) AND ', ''),
  replace('an edit of what has started', 'change_timers', ` AND t.${WAITING}`, ''),
  replace('an edit that keeps the version', 'change_timers', 'version = t.version + 1', 'version = t.version'),
  replace('an edit that wakes nobody', 'change_timers', 'wake_at = CASE', 'wake_at = CASE WHEN true THEN t.wake_at'),
  replace('an edit that wakes what is parked', 'change_timers', "WHEN t.state <> 'scheduled' THEN t.wake_at", ''),
  replace(
    'an edit that passes over what is parked',
    'change_timers',
    ` AND t.${WAITING}`,
    " AND t.state = 'scheduled'",
  ),
  replace('a fire of what has started', 'fire_timer', WAITING, WAITING_OR_RUNNING),
  replace(
    'a fire that wakes nobody',
    'fire_timer',
    "WHEN 'scheduled' THEN clock_timestamp()",
    "WHEN 'scheduled' THEN t.wake_at",
  ),
  replace('a fire that wakes what is parked', 'fire_timer', 'ELSE t.wake_at END', 'ELSE clock_timestamp() END'),
  replace('a cancel that passes over what is parked', 'cancel_timers', WAITING, "state IN ('scheduled')"),
  replace(
    'a pause of what has started',
    'pause_timers',
    "t.state = 'scheduled' OR",
    "t.state IN ('scheduled', 'running') OR",
  ),
  replace('a pause that keeps the version', 'pause_timers', 'version = t.version + 1', 'version = t.version'),
  replace('a pause that goes on waking', 'pause_timers', "wake_at = 'infinity'", 'wake_at = t.wake_at'),
  replace(
    'a resume of what waits',
    'resume_timers',
    "t.state = 'paused' AND",
    "t.state IN ('paused', 'scheduled') AND",
  ),
  replace('a resume that keeps the version', 'resume_timers', 'version = t.version + 1', 'version = t.version'),
  replace(
    'a resume that wakes nobody',
    'resume_timers',
    'wake_at = greatest(p.new_due_at,',
    'wake_at = greatest(t.wake_at,',
  ),
  replace(
    'a pause that is not in the audit log',
    'pause_timers',
    'FROM paused GROUP BY entry',
    'FROM paused WHERE false GROUP BY entry',
  ),
  replace(
    'a creation that is not in the ledger',
    'create_requested_timers',
    'FROM input GROUP BY',
    'FROM input WHERE false GROUP BY',
  ),
  replace(
    'a redrive that is not in the ledger',
    'redrive_timers',
    'FROM gone GROUP BY',
    'FROM gone WHERE false GROUP BY',
  ),
  replace('a redrive that keeps the version', 'redrive_timers', 'version + 1', 'version'),
  replace(
    'a named creation that is not in the ledger',
    'create_named_timers',
    'FROM chosen GROUP BY',
    'FROM chosen WHERE false GROUP BY',
  ),
  replace('a read that passes over lost attempts', 'read_due_timers', ' OR (CASE', ' OR false AND (CASE'),
  replace(
    'a read that begins too late',
    'read_due_timers',
    'to_timestamp(p.wake_at / 1000)',
    "(to_timestamp(p.wake_at / 1000) + interval '1 millisecond')",
  ),
  replace(
    'a read that ends too early',
    'read_due_timers',
    'statement_timestamp() + $4::float8',
    'statement_timestamp() - $4::float8',
  ),
  replace('a fold that forgets', 'fold_ledger', 'sum(cancelled)', '0'),
];
