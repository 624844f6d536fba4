#!/bin/sh
# Runs one command and outlives whoever started it: the other end of standard input belongs to the owner, and when
# that end closes (the owner asked, ended, crashed or was killed with -9) the command is stopped. It is a shell script
# because a guard must be small, and must still work when the owner's own runtime is what failed.
#
# usage: guard.sh STOP_SIGNAL STOP_SECONDS HARD_SIGNAL FOLDER COMMAND [ARGUMENT...]
#   STOP_SIGNAL   sent first (INT: fast shutdown of Postgres; TERM: Redis and the services)
#   STOP_SECONDS  how long the command may take before HARD_SIGNAL, which is followed by KILL
#   FOLDER        removed once the command has ended; empty: nothing is removed
# The command's pid is written to file descriptor 3. The exit code is the command's (128 + N after signal N).
stop_signal=$1 stop_seconds=$2 hard_signal=$3 folder=$4
shift 4

# Between HARD_SIGNAL and KILL: long enough for Postgres to end its children in immediate mode.
hard_seconds=10

# Someone who signals whole groups (a service manager) must not take the guard from its command. The signals are
# caught, not ignored: a command started here would inherit "ignored".
trap : HUP INT TERM

# Whatever PATH the owner has, sleep and rm are found: a guard that cannot sleep would not wait before it kills.
PATH=${PATH:+$PATH:}/usr/bin:/bin

exec 4<&0
"$@" </dev/null 3>&- 4<&- &
command_pid=$!
echo "$command_pid" >&3
exec 3>&-

# Succeeds when the command has ended within $1 seconds.
ends_within() {
  checks=$(($1 * 10))
  while [ "$checks" -gt 0 ]; do
    kill -0 "$command_pid" || return 0
    sleep 0.1
    checks=$((checks - 1))
  done
  return 1
}

watch_owner() {
  trap '' HUP INT TERM
  # Nothing is ever written to the pipe: read returns when its other end closes.
  while read -r _; do :; done
  kill -s "$stop_signal" "$command_pid"
  ends_within "$stop_seconds" && exit
  kill -s "$hard_signal" "$command_pid"
  ends_within "$hard_seconds" && exit
  kill -s KILL "$command_pid"
}
watch_owner <&4 4<&- >/dev/null 2>&1 &
watcher_pid=$!
exec 4<&- </dev/null

# A caught signal ends the wait early, while the command still runs.
while :; do
  wait "$command_pid"
  code=$?
  kill -0 "$command_pid" 2>/dev/null || break
done
kill -s KILL "$watcher_pid" 2>/dev/null

if [ -n "$folder" ]; then
  # After a hard stop, children of the command may still be leaving files behind: one more go.
  rm -rf -- "$folder" 2>/dev/null || { sleep 1; rm -rf -- "$folder"; }
fi
exit "$code"
